"""Spans of an example responder, if OpenTelemetry is installed and a variable OTEL_… asks for them.

The SDK reads the variables. The gateway reports wrong ones, since it starts with the same variables.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from typing import TYPE_CHECKING

from nats.micro.request import Request, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from opentelemetry.trace import Span

    Answer = TypeVar("Answer")

STOP_SECONDS = 1.0  # for the last spans: the SDK would wait half a minute for a collector that hangs
_ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def start_traces(name: str, version: str) -> Traces | None:
    """The traces of the service `name`. None if no variable asks for them."""
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or os.environ.get("OTEL_TRACES_EXPORTER") == "none" or not any(map(os.environ.get, _ASKING)):
        return None
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        return None
    return Traces(name, version)


class Traces:
    """A span for each request of a service, in the trace of its `traceparent`."""

    def __init__(self, name: str, version: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the gateway reports a missing collector
        service = os.environ.get("OTEL_SERVICE_NAME") or name
        resource = Resource.create({"service.name": service, "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("responders")
        self._propagator = TraceContextTextMapPropagator()
        self._group = name

    def wrap(
        self, subject: str, handler: Callable[[Request], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[Answer]]:
        """The handler of this subject, with a span around it."""

        async def handle(request: Request) -> Answer:
            """Answer within a span."""
            with self._start(subject, request) as span:
                try:
                    return await handler(request)
                except Exception as error:
                    kind = error.code if isinstance(error, ServiceError) else type(error).__name__
                    span.set_attribute("error.type", kind)
                    raise

        return handle

    def _start(self, subject: str, request: Request) -> AbstractContextManager[Span]:
        """The span of a request, by OpenTelemetry's semantic conventions for messaging."""
        from opentelemetry.trace import SpanKind

        headers = {name.lower(): value for name, value in (request.headers or {}).items()}
        return self._tracer.start_as_current_span(
            f"process {subject}",
            self._propagator.extract(headers),
            SpanKind.CONSUMER,
            {
                "messaging.system": "nats",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": request.subject,
                "messaging.destination.template": subject,
                "messaging.consumer.group.name": self._group,
            },
            record_exception=False,  # its text may contain what a caller sent
        )

    def stop(self) -> None:
        """Send the last spans, for at most STOP_SECONDS."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)
