"""Connects traces with requests. A trace begins right before a request is sent, or at its end if nothing was sent. No
I/O."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..edge.request import Request
from ..errors import CannotStart
from ..observe.record import Observer, Record
from ..observe.trace_context import (
    NOT_SAMPLED,
    Parent,
    Sent,
    Surroundings,
    Trace,
    find_parent,
    make_ids,
    mentions_trace,
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
    of the NATS server that it uses."""

    def __init__(
        self, tracing: "Tracing", find_path: Callable[[str], str | None], find_server: Callable[[str], str | None]
    ) -> None:
        self._tracing = tracing
        self._decide, self._bound = tracing.decide, tracing.bound
        self._ids = make_ids()
        self._find_path = find_path
        self._find_server = find_server

    def begin(self, outbound: Outbound) -> None:
        """Add the trace context to the headers for the service. Call this right before the request is sent."""
        request, plan, headers = outbound.request, outbound.plan, outbound.headers
        names = plan.trace_names
        high, low, span_id = next(self._ids)
        is_mentioned = mentions_trace(request.headers)
        if is_mentioned or plan.may_send_trace:
            headers = remove_trace(headers, names)
        if low >= self._bound and not is_mentioned:  # the usual case
            request.trace = NOT_SAMPLED
            begin = headers[:-2] if headers else b"NATS/1.0\r\n"
            outbound.headers = b"".join((begin, names.begin, high, low, b"-", span_id, b"-00\r\n\r\n"))
            return
        trace_id, parent = high + low, find_parent(request.headers)
        if parent is not None:
            trace_id, span_id = parent.trace_id, parent.span_id
        is_sampled = self._decide(trace_id, parent)
        request.trace = trace = self._make(trace_id, parent) if is_sampled else NOT_SAMPLED
        if is_sampled:
            span_id, outbound.sent_at = trace.client_id, time.monotonic()  # from here the reply is timed, too
            trace.sent = Sent(outbound.subject, plan.route.subject, outbound.sent_at)
        outbound.headers = write_trace(headers, names, trace_id, span_id, parent, is_sampled)

    def find_observer(self, request: Request) -> Observer | None:
        """The observer that gets the record of this request, if its trace is sampled, else None."""
        trace = request.trace
        if trace is NOT_SAMPLED:
            return None
        if trace is None:
            parent = find_parent(request.headers)
            trace_id = b"".join(next(self._ids)[:2]) if parent is None else parent.trace_id
            trace = self._make(trace_id, parent) if self._decide(trace_id, parent) else NOT_SAMPLED
        return None if trace is NOT_SAMPLED else self._end(request, trace)

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
                server=self._find_server(record.route) if record.route else None,
                epoch=time.time_ns() - time.monotonic_ns(),
            )
            self._tracing.end(trace, record, around)

        return end
