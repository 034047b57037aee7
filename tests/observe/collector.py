"""A collector of spans, as any that speaks OTLP over HTTP."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.harness import eventually

SERVER, CLIENT, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CONSUMER
UNSET, ERROR = 0, 2


@dataclass(frozen=True, slots=True)
class Collected:
    """A span as it arrived, with the attributes of its resource. Ids are in hex."""

    trace_id: str
    span_id: str
    parent_id: str
    state: str
    name: str
    kind: int
    status: int
    start: int
    end: int
    attributes: dict[str, object]
    resource: dict[str, object]


class Collector:
    """`url` is for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Collected] = []

    async def wait(self, trace_id: str, count: int) -> list[Collected]:
        """The spans of a trace, in the order of their kinds, once there are so many."""
        await eventually(lambda: len(self.find(trace_id)) >= count)
        assert len(self.find(trace_id)) == count
        return self.find(trace_id)

    def find(self, trace_id: str) -> list[Collected]:
        found = [span for span in list(self.spans) if span.trace_id == trace_id]
        return sorted(found, key=lambda span: (span.kind, span.start))


@contextlib.contextmanager
def run_collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.spans += read_spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read_spans(request: ExportTraceServiceRequest) -> Iterator[Collected]:
    for of_resource in request.resource_spans:
        resource = _read_attributes(of_resource.resource.attributes)
        for span in (span for scope in of_resource.scope_spans for span in scope.spans):
            yield Collected(
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.trace_state,
                span.name,
                span.kind,
                span.status.code,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                _read_attributes(span.attributes),
                resource,
            )


def _read_attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
