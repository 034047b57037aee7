"""Spans by the SDK of OpenTelemetry, sent by OTLP over HTTP. The only module that imports it, and imported only where
traces are wanted.

Laws:
1. A request whose trace is not sampled costs a look at its headers. Its spans are made at its end, both at once, from
   its record: to start two that nobody keeps would take the SDK a quarter of the time of a request.
2. No collector holds up a request. A thread of the SDK sends spans from a queue of OTEL_BSP_MAX_QUEUE_SIZE; what does
   not fit is dropped. The stop waits STOP_PATIENCE for the rest.
3. What goes wrong with that is one line of the log in REPORT_INTERVAL.
4. A span has no query, no header but the trace context, and no byte of a body. Semantic conventions ask for
   `url.query`, `user_agent.original` and the like; callers put tokens and names there. The path and the subject it
   becomes are there, without which a trace would not say what was asked for.
"""

import asyncio
import logging
import threading
import time
from typing import Self

import requests
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)
from requests.adapters import HTTPAdapter

from .record import Record
from .trace_context import Parent, Sent, Surroundings, Trace
from .trace_settings import Sampling

SERVICE = "nats-http-gateway"
STOP_PATIENCE = 1.0  # seconds
REPORT_INTERVAL = 60.0  # seconds
MAX_ANSWER = 64 * 1024  # bytes of what a collector answers
MAX_MESSAGE = 300  # characters of a message of the SDK
MAX_PATH = 1024  # characters of a path in a span, of which the queue may hold many
CALLER_GONE = "caller-gone"

Attributes = dict[str, str | int]

# RFC 9110 and PATCH, as the semantic conventions have them: any caller can make up others.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_OTHER_METHOD = "_OTHER"
_MAX_METHOD = 32  # characters of such a one
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

_log = structlog.get_logger("nats-http.traces")


class Tracing:
    """An async context manager: spans are sent while it is entered. Raises ValueError for variables `OTEL_…` that the
    SDK does not take."""

    def __init__(self, sampling: Sampling, *, version: str) -> None:
        self._sampling = sampling
        self._sampler = TraceIdRatioBased(sampling.ratio)
        # In hex, since so it is compared at a fifth of the cost; `g` is over every hex digit.
        self._bound = b"%016x" % self._sampler.bound if sampling.ratio < 1 else b"g"
        self._version = version
        self._tracer: Tracer | None = None
        self._ids = _GivenIds()
        self._make_provider().shutdown()

    def decide(self, trace_id: bytes, parent: Parent | None) -> bool:
        """As the sampler of the provider will, at a fraction of the cost."""
        if parent is not None and self._sampling.by_parent:
            return bool(parent.flags & TraceFlags.SAMPLED)
        return self.starts(trace_id[16:])

    def starts(self, low: bytes) -> bool:
        """Whether a trace that begins here is sampled. `low` is the second half of its id, in hex."""
        return low < self._bound

    async def __aenter__(self) -> Self:
        _report_by_our_log()
        self._provider = self._make_provider()
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=_make_session())))
        self._tracer = self._provider.get_tracer(SERVICE, self._version, _SCHEMA)
        return self

    async def __aexit__(self, *_: object) -> None:
        """In a thread of its own: the SDK would wait for half a minute for a collector that hangs."""
        self._tracer = None
        stopping = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        stopping.start()
        end = time.monotonic() + STOP_PATIENCE
        while stopping.is_alive() and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _make_provider(self) -> TracerProvider:
        resource = Resource.create({SERVICE_VERSION: self._version})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # no variable says it
            resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
        sampler = ParentBased(self._sampler) if self._sampling.by_parent else self._sampler
        return TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=self._ids)

    def end(self, trace: Trace, record: Record, around: Surroundings) -> None:
        """The request is over: make its spans."""
        if self._tracer is None:
            return
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), int(trace.server_id, 16)
        method, path = record.method if record.method in _METHODS else "HTTP", around.path
        span = self._tracer.start_span(
            f"{method} {path}" if path else method,
            _follow(trace.parent),
            SpanKind.SERVER,
            _describe_exchange(record, around),
            start_time=around.tell_time(around.received),
        )
        if record.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        end = around.received + record.duration
        if trace.sent is not None:
            self._ids.span_id = int(trace.client_id, 16)
            self._end_sent(self._tracer, span, trace.sent, record, around, end)
        span.end(around.tell_time(end))

    def _end_sent(
        self, tracer: Tracer, parent: Span, sent: Sent, record: Record, around: Surroundings, end: float
    ) -> None:
        span = tracer.start_span(
            f"request {sent.template}",  # the subject itself has a value for each caller
            set_span_in_context(parent, Context()),
            SpanKind.CLIENT,
            _describe_sent(sent, record, around.server),
            start_time=around.tell_time(sent.at),
        )
        if record.slug not in (None, CALLER_GONE):
            span.set_status(Status(StatusCode.ERROR))
        span.end(around.tell_time(end if record.reply_time is None else min(end, sent.at + record.reply_time)))


class _ShortAnswers(HTTPAdapter):
    """Reads no more of a collector's answer than MAX_ANSWER: one without end would take all memory."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - requests passes it
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        response = super().send(request, True, timeout, verify, cert, proxies)
        response._content = response.raw.read(MAX_ANSWER, decode_content=True)
        response.close()
        return response


def _make_session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _ShortAnswers())
    return session


class _GivenIds(IdGenerator):
    """The next span has the ids that its service was told long before."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        """False leaves the flag of Level 2 as the caller had it."""
        return False


class _Reports(logging.Handler):
    """What the SDK has to say goes to our log, one message in REPORT_INTERVAL, with the number of those left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._due = 0.0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
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
    logging.getLogger("opentelemetry.trace").setLevel(logging.CRITICAL)  # it repeats headers of callers
    if not any(isinstance(handler, _Reports) for handler in logger.handlers):
        logger.addHandler(_Reports())


def _follow(parent: Parent | None) -> Context:
    if parent is None:
        return Context()
    state = TraceState.from_header([parent.state.decode("ascii")]) if parent.state else None
    flags = TraceFlags(parent.flags)
    ids = int(parent.trace_id, 16), int(parent.span_id, 16)
    return set_span_in_context(NonRecordingSpan(SpanContext(*ids, True, flags, state)), Context())


def _describe_exchange(record: Record, around: Surroundings) -> Attributes:
    """By the semantic conventions of HTTP servers, stable since 1.23."""
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
    """By the semantic conventions of messaging, which are not stable yet (1.37)."""
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
