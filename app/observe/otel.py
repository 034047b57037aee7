"""Traces with the SDK of OpenTelemetry. Only this module and `spans` import it, and only if traces are on.

Laws:
1. A request whose trace is not sampled costs a look at its headers. At the end of a sampled one, what is known about it
   goes straight to the queue, for both its spans. If the SDK started and ended two spans, with a lock, a sampler and
   copies of all attributes for each, the request would take twice as long.
2. No request waits for a collector. A thread of the SDK sends spans from a queue of OTEL_BSP_MAX_QUEUE_SIZE. Spans that
   do not fit are dropped. At the stop, the last spans have STOP_PATIENCE to go.
3. Failures to send are logged, at most one line in REPORT_INTERVAL.
"""

import asyncio
import logging
import threading
import time
from typing import Self

import requests
import structlog
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags
from requests.adapters import HTTPAdapter

from .record import Record
from .spans import MAX_PATH, Ended, Exporter, Spans
from .trace_context import Parent, Surroundings, Trace
from .trace_settings import Sampling

SERVICE = "nats-http-gateway"
STOP_PATIENCE = 1.0  # seconds
REPORT_INTERVAL = 60.0  # seconds
MAX_ANSWER = 64 * 1024  # bytes of the answer of a collector
MAX_MESSAGE = 300  # characters of a message of the SDK

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

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
        self._spans = Spans()
        self._processor: BatchSpanProcessor | None = None

    def decide(self, trace_id: bytes, parent: Parent | None) -> bool:
        """Whether the trace is sampled. It decides as the samplers of the SDK do, in a fraction of their time."""
        if parent is not None and self._sampling.by_parent:
            return bool(parent.flags & TraceFlags.SAMPLED)
        return trace_id[16:] < self.bound

    async def __aenter__(self) -> Self:
        _report_by_our_log()
        self._processor = BatchSpanProcessor(Exporter(self._resource, self._scope, _make_session()))
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
        """Note that a request has ended. Its spans are made when they are sent."""
        processor = self._processor
        if processor is None:
            return
        if record.path is not None and len(record.path) > MAX_PATH:
            record = record._replace(path=record.path[:MAX_PATH])
        if trace.sent is not None:
            processor.on_end(Ended(self._spans.make_sent, trace, record, around))  # type: ignore[arg-type] # see Ended
        processor.on_end(Ended(self._spans.make_exchange, trace, record, around))  # type: ignore[arg-type]


def _make_resource(version: str) -> Resource:
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # no variable sets it
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    return resource


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
