"""The way out of the gateway: makes one record for every response, and for every caller who left without one. No I/O.

Laws:
1. `leave` is called once for each request: by the writer of the response, or by the lane that finds the caller gone.
2. Similar failures of a storm have no records of their own: they are only counted.
"""

import time

import structlog

from ..edge.request import Caller, Request
from ..errors import Delivered
from ..observe.counts import Counts
from ..observe.record import Observer, Observers, Record, clean_text
from ..observe.trace_context import NOT_SAMPLED
from .responses import Fields, Response
from .traces import Traces

CALLER_GONE = 499  # "client closed request", as in nginx: for records only

_NOTHING = Fields(())
_log = structlog.get_logger("nats-http.records")


class WayOut:
    """Makes the records of one gateway for its observers."""

    def __init__(self, observers: Observers, counts: Counts | None = None, traces: Traces | None = None) -> None:
        self._failure, self._other, self._storm = observers.failure, observers.other, observers.storm
        self.counts = counts
        """Counts all responses; None if nothing does."""
        self._traces = traces
        self.sees_all = bool(observers.other) or counts is not None or traces is not None
        """Whether anything observes responses below 500."""
        self.untold: object = self if observers.other else None if traces is None else NOT_SAMPLED
        """If the trace of a request is this, its response is only counted, if it is below 500 and has no slug. Call
        `counts.add` instead of `leave`: that costs half as much."""

    def leave(
        self,
        response: Response,
        request: Request | None,
        caller: Caller,
        bytes_in: int = 0,
        *,
        bytes_out: int | None = None,
        is_written: bool = True,
    ) -> None:
        """Make the record of a response, and give it to the observers. `request` is None if the bytes were not HTTP.
        Without `bytes_out`, the length of the body counts if the response was written."""
        slug, method, duration = response.slug, None, 0.0
        if request is not None:
            method, duration = request.method, time.monotonic() - request.received
        if bytes_out is None:
            bytes_out = len(response.body) if is_written else 0
        if self.counts is not None:
            self.counts.add(response, method, duration, bytes_in, bytes_out)
            if slug is not None:
                self.counts.add_problem(response.route, slug, response.delivered)
        observers = self._failure if response.status >= 500 else self._other
        if observers and slug is not None and self._storm and not self._storm.admits(response.route, slug):
            observers = ()
        if self._traces is not None and request is not None and (trace := self._traces.find_observer(request)):
            observers = (*observers, trace)
        if observers:
            record = _make_record(response, request, caller, duration, bytes_in, bytes_out, is_written=is_written)
            _notify(observers, record)

    def refuse_connection(self, reason: str) -> None:
        """Count a connection over the cap. If it was answered, call `leave` for that response as well."""
        if self.counts is not None:
            self.counts.refuse_connection(reason)


def make_caller_gone(route: str | None, delivered: Delivered, request_id: str = "") -> Response:
    """The Response for the record of a caller who left before the answer. It is never sent."""
    sent = request_id.encode("ascii")
    return Response(CALLER_GONE, _NOTHING, b"", "caller-gone", request_id=sent, route=route, delivered=delivered)


def _make_record(
    response: Response,
    request: Request | None,
    caller: Caller,
    duration: float,
    bytes_in: int,
    bytes_out: int,
    *,
    is_written: bool,
) -> Record:
    identity = request.identity if request else None
    return Record(
        route=response.route,
        method=request.method if request else None,
        version=request.version if request else None,
        status=response.status,
        slug=response.slug,
        delivered=response.delivered,
        duration=duration,
        reply_time=response.reply_time,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        is_written=is_written,
        request_id=response.request_id.decode("latin-1") or None,
        lane=caller.lane,
        peer=caller.address,
        facts=response.facts,
        trace_id=request.trace.trace_id.decode() if request and request.trace else None,
        path=request.path if request else None,
        scheme=identity.scheme if identity else None,
        caller=clean_text(identity.subject) if identity else None,
    )


def _notify(observers: tuple[Observer, ...], record: Record) -> None:
    for observer in observers:
        try:
            observer(record)
        except Exception:  # a bug of an observer: the caller has its response, and the connection goes on
            _log.exception("record-not-taken")
