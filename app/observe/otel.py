"""Makes spans with the SDK of OpenTelemetry, and sends them by OTLP over HTTP. No other module imports the SDK, and
this module is imported only if traces are on.

Laws:
1. A request whose trace is not sampled costs a look at its headers. A sampled request gets both its spans at its end,
   from its record, and they go straight to the queue. If the SDK started and ended two spans, with a lock, a sampler
   and copies of all attributes for each, it would take five times as long.
2. No request waits for a collector. A thread of the SDK sends spans from a queue of OTEL_BSP_MAX_QUEUE_SIZE. Spans that
   do not fit are dropped. At the stop, the last spans have STOP_PATIENCE to go.
3. Failures to send are logged, at most one line in REPORT_INTERVAL.
4. A span has no query, no header except the trace context, and no byte of a body. Semantic conventions ask for
   `url.query`, `user_agent.original` and others, but callers put tokens and names there. A span has the path and the
   subject. Without these nobody would know which request it was.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from typing import Self

import requests
import structlog
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue
from requests.adapters import HTTPAdapter

from .record import Record
from .trace_context import Parent, Sent, Surroundings, Trace
from .trace_settings import Sampling

SERVICE = "nats-http-gateway"
STOP_PATIENCE = 1.0  # seconds
REPORT_INTERVAL = 60.0  # seconds
MAX_ANSWER = 64 * 1024  # bytes of the answer of a collector
MAX_MESSAGE = 300  # characters of a message of the SDK
MAX_PATH = 1024  # characters of a path in a span: the queue may have many spans
CALLER_GONE = "caller-gone"

Attributes = dict[str, str | int]

# RFC 9110 and PATCH, as in the semantic conventions. A caller can invent others.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_OTHER_METHOD = "_OTHER"
_MAX_METHOD = 32  # characters of another method
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

_USUAL_LIMITS = 128, None  # attributes, and the characters of each
_UNSET, _FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)

_log = structlog.get_logger("nats-http.traces")


class Tracing:
    """Sends spans while it is entered, as an async context manager. Raises ValueError for variables `OTEL_…` that the
    SDK does not accept."""

    def __init__(self, sampling: Sampling, *, version: str) -> None:
        self._sampling = sampling
        self.bound = b"%016x" % TraceIdRatioBased(sampling.ratio).bound if sampling.ratio < 1 else b"g"
        """A trace that begins here is sampled if the second half of its id is below this. Both are hexadecimal digits:
        these take a fifth of the time to compare. `g` is above all of them."""
        self._resource = _make_resource(version)
        self._scope = InstrumentationScope(SERVICE, version, _SCHEMA)
        limits = SpanLimits()
        bounds = limits.max_span_attributes, limits.max_span_attribute_length
        self._limits = None if bounds == _USUAL_LIMITS else bounds
        self._processor: BatchSpanProcessor | None = None

    def decide(self, trace_id: bytes, parent: Parent | None) -> bool:
        """Whether the trace is sampled. It decides as the samplers of the SDK do, in a fraction of their time."""
        if parent is not None and self._sampling.by_parent:
            return bool(parent.flags & TraceFlags.SAMPLED)
        return trace_id[16:] < self.bound

    async def __aenter__(self) -> Self:
        _report_by_our_log()
        self._processor = BatchSpanProcessor(OTLPSpanExporter(session=_make_session()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the SDK in another thread, since it would wait half a minute for a collector that hangs."""
        processor, self._processor = self._processor, None
        if processor is None:
            return
        stopping = threading.Thread(target=processor.shutdown, name="traces", daemon=True)
        stopping.start()
        end = time.monotonic() + STOP_PATIENCE
        while stopping.is_alive() and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def end(self, trace: Trace, record: Record, around: Surroundings) -> None:
        """Make the spans of a request that has ended."""
        if self._processor is None:
            return
        method, path, parent = record.method if record.method in _METHODS else "HTTP", around.path, trace.parent
        trace_id, state = int(trace.trace_id, 16), _read_state(parent)
        flags = TraceFlags((parent.flags if parent else 0) | TraceFlags.SAMPLED)
        server = SpanContext(trace_id, int(trace.server_id, 16), False, flags, state)
        end = around.received + record.duration
        if trace.sent is not None:
            client = SpanContext(trace_id, int(trace.client_id, 16), False, flags, state)
            self._processor.on_end(self._make_sent(client, server, trace.sent, record, around, end))
        self._processor.on_end(
            ReadableSpan(
                f"{method} {path}" if path else method,
                server,
                None if parent is None else _make_remote(trace_id, parent, state),
                self._resource,
                self._bound_all(_describe_exchange(record, around)),
                kind=SpanKind.SERVER,
                status=_FAILED if record.status >= 500 else _UNSET,
                start_time=around.convert_time(around.received),
                end_time=around.convert_time(end),
                instrumentation_scope=self._scope,
            )
        )

    def _make_sent(
        self, context: SpanContext, parent: SpanContext, sent: Sent, record: Record, around: Surroundings, end: float
    ) -> ReadableSpan:
        return ReadableSpan(
            f"request {sent.template}",  # the subject itself differs for each caller
            context,
            parent,
            self._resource,
            self._bound_all(_describe_sent(sent, record, around.server)),
            kind=SpanKind.CLIENT,
            status=_UNSET if record.slug in (None, CALLER_GONE) else _FAILED,
            start_time=around.convert_time(sent.at),
            end_time=around.convert_time(end if record.reply_time is None else min(end, sent.at + record.reply_time)),
            instrumentation_scope=self._scope,
        )

    def _bound_all(self, attributes: Attributes) -> Mapping[str, AttributeValue]:
        """Apply the limits that the environment sets."""
        if self._limits is None:
            return attributes
        most, longest = self._limits
        return BoundedAttributes(most, attributes, max_value_len=longest)


class _Same(Resource):
    """The resource of all spans. The exporter asks for its hash once for each span."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _make_resource(version: str) -> Resource:
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # no variable sets it
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    return _Same(resource.attributes, resource.schema_url)


class _ShortAnswers(HTTPAdapter):
    """Reads at most MAX_ANSWER of a collector's answer: an endless one would take all memory."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - requests passes it
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, and read the beginning of its answer at once, whatever `stream` asks for."""
        response = super().send(request, True, timeout, verify, cert, proxies)
        response._content = response.raw.read(MAX_ANSWER, decode_content=True)
        response.close()
        return response


def _make_session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _ShortAnswers())
    return session


class _Reports(logging.Handler):
    """Passes messages of the SDK to our log: one in REPORT_INTERVAL, with the number of those that were dropped."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._due = 0.0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message, or count it if the last one is too recent."""
        now = time.monotonic()
        if now < self._due:
            self._left_out += 1
            return
        self._due = now + REPORT_INTERVAL
        _log.warning("traces", reason=record.getMessage()[:MAX_MESSAGE], left_out=self._left_out)
        self._left_out = 0


def _report_by_our_log() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logging.getLogger("opentelemetry.trace").setLevel(logging.CRITICAL)  # it logs headers of callers
    if not any(isinstance(handler, _Reports) for handler in logger.handlers):
        logger.addHandler(_Reports())


def _make_remote(trace_id: int, parent: Parent, state: TraceState | None) -> SpanContext:
    return SpanContext(trace_id, int(parent.span_id, 16), True, TraceFlags(parent.flags), state)


def _read_state(parent: Parent | None) -> TraceState | None:
    return TraceState.from_header([parent.state.decode("ascii")]) if parent and parent.state else None


def _describe_exchange(record: Record, around: Surroundings) -> Attributes:
    """The attributes of a request, by the semantic conventions for HTTP servers (stable since 1.23)."""
    method = record.method or ""
    attributes: Attributes = {
        "http.request.method": method if method in _METHODS else _OTHER_METHOD,
        "http.response.status_code": record.status,
        "url.scheme": around.scheme,
        "url.path": (record.path or b"").decode("latin-1")[:MAX_PATH],
    }
    if method not in _METHODS:
        attributes["http.request.method_original"] = method[:_MAX_METHOD]
    known = (
        ("http.route", around.path),
        ("network.protocol.version", record.version),
        ("client.address", record.peer),
        ("error.type", record.slug),
        ("nats_http.request_id", record.request_id),
    )
    attributes.update((name, value) for name, value in known if value)
    return attributes


def _describe_sent(sent: Sent, record: Record, server: str | None) -> Attributes:
    """The attributes of a request to NATS, by the semantic conventions for messaging (1.37, not stable yet)."""
    attributes: Attributes = {
        "messaging.system": "nats",
        "messaging.operation.name": "request",
        "messaging.operation.type": "send",
        "messaging.destination.name": sent.subject,
    }
    if sent.template != sent.subject:
        attributes["messaging.destination.template"] = sent.template
    if server:
        host, _, port = server.rpartition(":")
        attributes["server.address"] = host.strip("[]")
        attributes["server.port"] = int(port)
    if record.slug:
        attributes["error.type"] = record.slug
    return attributes
