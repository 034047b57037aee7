"""Connects traces with requests. A trace begins right before a request is sent, or at its end if nothing was sent. No
I/O."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..edge.request import Request
from ..errors import CannotStart
from ..nats.inbox import make_tokens
from ..observe.record import Observer, Record
from ..observe.trace_context import (
    BLOCK,
    NOT_SAMPLED,
    TRACE_HEADERS,
    UNSAMPLED,
    Names,
    Parent,
    Sent,
    Surroundings,
    Trace,
    find_parent,
    make_ids,
    remove_trace,
    write_trace,
)
from ..observe.trace_settings import INSTALL
from ..settings import read_sampling
from .outbound import Outbound

if TYPE_CHECKING:
    from ..observe.otel import Tracing  # with the libraries of the extra


def make_tracing(version: str) -> "Tracing | None":
    """The tracing that the environment asks for. If it asks for none, returns None and imports nothing. Raises
    CannotStart."""
    sampling = read_sampling()
    if sampling is None:
        return None
    try:
        from ..observe.otel import Tracing

        return Tracing(sampling, version=version)
    except ImportError as error:
        raise CannotStart(f"traces need libraries that are not installed ({error.name}): {INSTALL}") from None
    except ValueError as error:  # of the SDK; it names the variable
        raise CannotStart(str(error)) from None


class Traces:
    """The traces of one gateway. `find_path` gives the path template of a route by its name, `find_server` the address
    of the NATS server."""

    def __init__(
        self, tracing: "Tracing", find_path: Callable[[str], str | None], find_server: Callable[[], str | None]
    ) -> None:
        self._tracing = tracing
        self._decide, self._bound = tracing.decide, tracing.bound
        self._ids, self._tokens = make_ids(), make_tokens()
        self._high = next(self._tokens)
        """The first half of the ids of traces without spans. The second half, by which traces are sampled (W3C Trace
        Context §3.2.2.3), is random for each."""
        self._find_path = find_path
        self._find_server = find_server

    def begin(self, outbound: Outbound) -> None:
        """Add the trace context to the headers for the service. Call this right before the request is sent."""
        request, names = outbound.request, outbound.plan.trace_names
        low = next(self._tokens)
        for name, _ in request.headers:
            if name in TRACE_HEADERS:
                self._begin_other(outbound, names, low)
                return
        if low < self._bound or names.may_occur:
            self._begin_other(outbound, names, low)
            return
        # The usual case. Its own function, or names that callers may send in a set, would double its cost.
        request.trace = NOT_SAMPLED
        outbound.headers = b"".join(
            (outbound.headers[:-2] or BLOCK, names.begin, self._high, low, b"-", low, UNSAMPLED)
        )

    def _begin_other(self, outbound: Outbound, names: Names, low: bytes) -> None:
        """As `begin`, for a request that may have a parent, and for a sampled one. `low` is the second half of the id,
        if the trace begins here."""
        request, parent, (high, span_id, _) = outbound.request, find_parent(outbound.request.headers), next(self._ids)
        headers, trace_id = remove_trace(outbound.headers, names), high + low
        if parent is not None:
            trace_id, span_id = parent.trace_id, parent.span_id
        is_sampled = self._decide(trace_id, parent)
        request.trace = trace = self._make(trace_id, parent) if is_sampled else NOT_SAMPLED
        if is_sampled:
            span_id, outbound.sent_at = trace.client_id, time.monotonic()  # from here the reply is timed, too
            trace.sent = Sent(outbound.subject, outbound.route.subject, outbound.sent_at)
        outbound.headers = write_trace(headers, names, trace_id, span_id, parent, is_sampled)

    def find_observers(self, request: Request) -> tuple[Observer, ...]:
        """The observer that gets the record of this request, if its trace is sampled."""
        trace = request.trace
        if trace is None:
            parent = find_parent(request.headers)
            trace_id = b"".join(next(self._ids)[:2]) if parent is None else parent.trace_id
            trace = self._make(trace_id, parent) if self._decide(trace_id, parent) else NOT_SAMPLED
        return () if trace is NOT_SAMPLED else (self._end(request, trace),)

    def _make(self, trace_id: bytes, parent: Parent | None) -> Trace:
        server_id, client_id, _ = next(self._ids)
        return Trace(trace_id, parent, server_id, client_id)

    def _end(self, request: Request, trace: Trace) -> Observer:
        def end(record: Record) -> None:
            """End the trace with the record of the response."""
            around = Surroundings(
                received=request.received,
                scheme=request.caller.scheme,
                path=self._find_path(record.route) if record.route else None,
                server=self._find_server(),
                epoch=time.time_ns() - time.monotonic_ns(),
            )
            self._tracing.end(trace, record, around)

        return end
