"""One request on the fast lane, from its head to its response. One object is both the cycle of uvicorn's protocol and
the link's request in flight (ADR 6).

    start ── body? ──▶ reads_body ── end_body ──▶ (checked) ──▶ sent ── take ──▶ write_response
                           │ too large, too late, no memory        │ caller gone: abandoned
                           ▼                                       ▼
                        respond with a problem                   nothing
"""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from ..checks.checker import Checker
from ..deadlines import Deadlines, Wait
from ..edge.request import Request
from ..errors import GatewayError, RequestTimeout
from ..exchange.outbound import Outbound, body_too_large, no_memory
from ..exchange.relay import Relay
from ..exchange.responses import Response, Unchecked
from ..exchange.way_out import make_caller_gone
from ..nats.in_flight import InFlight, Outcome, Sender
from .bounds import Bounds
from .loading import Checking, check_reply, load_body


class FastConnection(Protocol):
    """The connection of a request, and the parts that answer it."""

    loop: asyncio.AbstractEventLoop
    bounds: Bounds
    relay: Relay
    links: Mapping[str, Sender]
    checker: Checker
    deadlines: Deadlines

    def go_on(self) -> None:
        """Parse the bytes that wait, and read on."""

    def fail(self, request: Request, route: str | None = None) -> Response:
        """The answer after a bug in the gateway."""

    def write_response(self, response: Response) -> None:
        """Write a response, once the caller has read the earlier ones."""


class FastExchange(InFlight):
    """One request on a connection, from its head to its response."""

    # uvicorn's protocol reads and sets these, and also `keep_alive` and `message_event`.
    more_body = True
    disconnected = False
    response_started = False
    response_complete = False

    body: bytes | bytearray = b""

    reads_body = False
    """Whether it waits for the body."""
    waits_for_memory = False
    """Whether it waits until there is memory for the body."""
    _has_asked = False
    """Whether it has asked for memory, and not given it back yet."""
    _reading_timer: set[Wait] | None = None
    """The timer for the rest of a body that did not come with its head."""
    bytes_in = 0
    """The size of the body, or of the part that came."""
    _outbound: Outbound
    _checking: Checking | None = None

    def __init__(self, protocol: FastConnection, request: Request, keep_alive: bool) -> None:
        self._protocol = protocol
        self.request = request
        self.keep_alive = keep_alive

    @property
    def peer(self) -> str | None:
        """The address that counts for limits per caller."""
        return self.request.caller.counted_as

    @property
    def route(self) -> str | None:
        """The name of the route; None if the relay has answered at once."""
        outbound: Outbound | None = getattr(self, "_outbound", None)
        return outbound.route.name if outbound else None

    @property
    def message_event(self) -> "FastExchange":
        """The event that uvicorn's protocol sets: see `set`."""
        return self

    def start(self, outbound: Outbound) -> None:
        """Send the request: now, or once its body is complete if the route takes one."""
        self._outbound = outbound
        if outbound.max_body is None:
            self._send(outbound)
        else:
            self.reads_body = True

    def read_on(self, length: int | None) -> None:
        """Ask for memory, before more of the body is read than the part that came with its head, and limit the time for
        the rest. Without a `length` ask for as much as the route allows."""
        self._reading_timer = self._protocol.deadlines.add(self._outbound.deadline, self)
        size = self._outbound.max_body or 0 if length is None else length
        self._has_asked = self.wants_written = True
        self.waits_for_memory = not self._protocol.bounds.uploads.ask(self, size)

    def granted(self) -> None:
        """Read on: the memory for the body is granted."""
        self.waits_for_memory = False
        self._protocol.loop.call_soon(self._protocol.go_on)

    def evicted(self) -> None:
        """Refuse the request: another one gets its memory."""
        self._has_asked = False
        self._refuse(no_memory())

    def written(self) -> None:
        """Give back the memory: this process no longer keeps the body."""
        self._release_memory()

    def _release_memory(self) -> None:
        if self._has_asked:
            self._has_asked = self.waits_for_memory = False
            self._protocol.bounds.uploads.forget(self)

    def add_body(self, piece: bytes) -> None:
        """Keep a piece of the body, or drop it if nobody waits for the body."""
        if not self.reads_body:
            return
        if not self.body:
            self.body = piece
        elif isinstance(self.body, bytes):
            self.body = bytearray().join((self.body, piece))
        else:
            self.body += piece
        if self._outbound.max_body is not None and len(self.body) > self._outbound.max_body:
            self._refuse(body_too_large(self._outbound.max_body))

    def end_body(self) -> None:
        """Load and send the complete body."""
        if self.reads_body:
            self._stop_reading()
            if self._has_asked:
                self._protocol.bounds.uploads.complete(self)
            body, self.body = bytes(self.body), b""
            self.bytes_in = len(body)
            self._load(self._outbound, body)

    def expire(self) -> None:
        """The deadline has passed: refuse the request if its body is still coming, else end it as any request."""
        if self.reads_body:
            self._refuse(no_memory() if self.waits_for_memory else RequestTimeout())
        else:
            super().expire()

    def respond(self, response: Response) -> None:
        """Answer without the service: in the next turn of the loop, as an application would. So the parser sees a body
        that came with the head first, and both lanes answer a broken one alike."""
        self._protocol.loop.call_soon(self._protocol.write_response, response)

    def set(self) -> None:
        """uvicorn's protocol calls `message_event.set()`. Here it matters only if the caller has gone: then abandon the
        request."""
        if self.disconnected and not self.response_complete:
            self._stop_reading()
            self.body = b""
            self.response_complete = True
            if self.in_flight is None:
                self._release_memory()
            if self._checking is not None:
                self._checking.cancel()
            self.abandon()

    def describe_caller_gone(self) -> Response:
        """The response for the record if the caller has left before its answer."""
        outbound: Outbound | None = getattr(self, "_outbound", None)
        if outbound is None:
            return make_caller_gone(None, "no")
        was_sent = self.in_flight is not None
        return make_caller_gone(outbound.route.name, "unknown" if was_sent else "no", outbound.request_id)

    def _load(self, outbound: Outbound, body: bytes) -> None:
        relay, checker, fail = (
            self._protocol.relay,
            self._protocol.checker,
            partial(self._protocol.fail, self.request, self.route),
        )
        self._checking = load_body(relay, checker, outbound, body, fail=fail, then=self._send_loaded)

    def _send_loaded(self, refused: Response | None) -> None:
        outbound = self._outbound
        if refused is None:
            outbound.sent_at = time.monotonic()
            self._send(outbound)
            outbound.payload = b""  # so that its memory is free as soon as it is written
        else:
            self._release_memory()
            self.respond(refused)

    def _send(self, outbound: Outbound) -> None:
        plan = outbound.plan
        self.share = plan.share
        link = self._protocol.links[plan.link]
        link.send(self, outbound.subject, outbound.headers, outbound.payload, outbound.deadline)

    def take(self, outcome: Outcome) -> None:
        """Answer with the outcome of the request."""
        try:
            response = self._protocol.relay.finish(self._outbound, outcome)
        except Exception:
            response = self._protocol.fail(self.request, self.route)
        if self.in_flight is None:  # the link has refused to send it
            self.respond(response)
        elif isinstance(response, Unchecked):
            self._check_reply(response)
        else:
            self._protocol.write_response(response)

    def _check_reply(self, response: Unchecked) -> None:
        protocol = self._protocol
        fail = partial(protocol.fail, self.request, self.route)
        self._checking = check_reply(
            protocol.relay, protocol.checker, self._outbound, response, fail=fail, then=protocol.write_response
        )

    def _refuse(self, error: GatewayError) -> None:
        self._stop_reading()
        self._release_memory()
        self.bytes_in, self.body = len(self.body), b""
        self.respond(self._protocol.relay.refuse(self._outbound, error))

    def _stop_reading(self) -> None:
        if self.reads_body:
            self.reads_body = False
            if self._reading_timer is not None:
                self._reading_timer.discard(self)
