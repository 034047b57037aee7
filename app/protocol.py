"""uvicorn's HTTP/1.1 protocol, with what it leaves open: bounds on what one connection may take, and answers to what is
no HTTP.

Leans on uvicorn 0.54: tests/test_uvicorn_contract.py names what.
"""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import BadRequest, GatewayError, HeadersTooLarge, Overloaded, RequestTimeout, UriTooLong
from app.headers import Pair, encode_fields, without_upgrade
from app.responses import build_problem_response
from app.sockets import has_hung_up

KEEP_ALIVE = 75.0  # seconds between two requests; longer than the 60 of common load balancers, so that they close first
HEAD_TIMEOUT = 10.0  # seconds that a request head may take to arrive, the first of a connection from its opening on
WRITE_TIMEOUT = 30.0  # seconds in which the caller must read something of what it was sent
LAST_WORDS = 1.0  # seconds in which a caller that is quiet must take its last answer
LONGEST_LINGER = 30.0  # seconds in which it may send the rest of its request body first
MAX_HEAD = 64 * 1024  # bytes of a request head
RESERVE = 128  # connections over the cap that are told so; more are only closed


class Connections:
    """The connections of one server: at most `maximum`, each with `body_timeout` seconds for a request body to
    arrive."""

    def __init__(self, *, maximum: int, body_timeout: float) -> None:
        self.maximum = maximum
        self.body_timeout = body_timeout
        self._idle: list[GatewayProtocol] = []
        self._default_headers: list[Pair] = []
        self._default_fields = b""

    def check(self, connections: Iterable["GatewayProtocol"]) -> None:
        """Called every second or so: ends what has been without progress for too long."""
        now = time.monotonic()
        for connection in connections:
            connection.check(now)
        self._idle = sorted((one for one in connections if one.is_idle), key=lambda one: one.seen_at, reverse=True)

    def make_room(self) -> bool:
        """Close the connection that has been idle for longest, as of the last check; False where none is."""
        while self._idle:
            longest = self._idle.pop()
            if longest.is_idle:
                longest.transport.close()
                return True
        return False

    def encode_default(self, headers: list[Pair]) -> bytes:
        """uvicorn's own fields of every response, in wire form. It makes a new list each second, for `date`."""
        if headers is not self._default_headers:
            self._default_headers, self._default_fields = headers, encode_fields(headers)
        return self._default_fields


class GatewayProtocol(HttpToolsProtocol):
    """One connection. What is no HTTP gets a problem document; head, body, response and idleness are bounded in time,
    the head in size, and connections in number; an offer to upgrade is ignored (RFC 9110 §7.8), so that the body stays
    a body."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.bounds = bounds
        self._in_head = False
        self._in_body = False
        self._head_size = 0
        """Bytes of a head that comes in pieces, before its last one; 0 where it comes in one."""
        self._fault: GatewayError | None = None
        self._plain_head: bytes | None = None
        self.lingers = False
        """Whether it has had its last answer, and what it still sends is dropped."""
        self._linger_end = math.inf
        self._dropped = 0
        self._steps = 0
        """Responses so far."""
        self._before: deque[Any] = deque()
        """Of requests that came behind one another: all but the last, those that are answered already at the front."""
        self._seen: tuple[object, ...] = ()
        self.seen_at = time.monotonic()
        """When `check` last saw it get something done."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Over the cap the one that has been idle for longest makes room, or this one is refused."""
        super().connection_made(transport)
        self._of_cycles = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self.close)
        excess = len(self.connections) - self.bounds.maximum
        if excess <= 0 or self.bounds.make_room():
            return
        if excess <= RESERVE:
            self.refuse(Overloaded("The gateway has as many connections as it may have."))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells all requests of it; uvicorn tells only the last one that came."""
        super().connection_lost(exc)
        for cycle in self._before:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self._before.clear()

    def data_received(self, data: bytes) -> None:
        """As in uvicorn, with a bound on heads, and with an answer to what is no HTTP."""
        if len(data) > MAX_HEAD:  # so that a head which comes in one piece is not too long
            for start in range(0, len(data), MAX_HEAD):
                self.data_received(data[start : start + MAX_HEAD])
            return
        if self.lingers:
            self._dropped += len(data)
            return
        size_before = self._head_size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.refuse(self._fault or BadRequest())
        else:
            if self._in_head:
                is_further_piece = self._head_size == size_before > 0
                self._head_size += len(data) if is_further_piece else self._measure_head()
                if self._head_size > MAX_HEAD:
                    self.refuse(self._describe_long_head())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is too long, or offers an upgrade: then it is read again without that."""
        self._in_head = False
        self._in_body = True
        if self._head_size and self._measure_head() > MAX_HEAD:
            self._fault = self._describe_long_head()
            raise ValueError  # the parser stops, and `data_received` hears of it
        if self.parser.should_upgrade():
            self._plain_head = self._encode_plain_head()
        else:
            self.begin_request()

    def begin_request(self) -> None:
        """A head is complete: the request goes to the application. A lane may answer it here instead."""
        before = self.cycle
        super().on_headers_complete()
        self.cycle.transport = self._of_cycles  # type: ignore[assignment]
        if before is not None and not before.response_complete:
            while self._before and self._before[0].response_complete:
                self._before.popleft()
            self._before.append(before)

    def on_message_complete(self) -> None:
        if self._plain_head is None:
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """As in uvicorn, but without a timer for each request: `check` finds those that have been idle for too long."""
        self.server_state.total_requests += 1
        self._steps += 1
        if self.lingers or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        is_done = self.cycle is None or self.cycle.response_complete
        return is_done and not (self._in_head or self._in_body or self.lingers or self.transport.is_closing())

    def check(self, now: float) -> None:
        """End the connection, or what it waits for, when nothing has moved for too long."""
        if self.flow.read_paused and has_hung_up(self.transport.get_extra_info("socket")):
            self.transport.abort()
            return
        unread = self.transport.get_write_buffer_size()
        seen = self._steps, self._in_head, self._in_body, unread, self._dropped
        if now > self._linger_end and not unread:
            self.transport.abort()
        elif seen != self._seen:
            self._seen, self.seen_at = seen, now
        elif now - self.seen_at > self._choose_patience(unread):
            self._expire(unread)

    def _choose_patience(self, unread: int) -> float:
        if unread or self.transport.is_closing():
            return WRITE_TIMEOUT
        if self.lingers:
            return LAST_WORDS
        if self._in_body:
            return self.bounds.body_timeout
        if self._in_head or self.cycle is None:
            return HEAD_TIMEOUT
        return KEEP_ALIVE if self.cycle.response_complete else float("inf")

    def _expire(self, unread: int) -> None:
        if unread or self.lingers or self.transport.is_closing():
            self.transport.abort()
        elif self._in_head:
            self.refuse(RequestTimeout())
        elif self._in_body and not self.cycle.response_complete:
            if not (self.pipeline or self.cycle.response_started):
                self.cycle.disconnected = self.cycle.response_complete = True
                self.cycle.message_event.set()
            self.refuse(RequestTimeout())
        else:
            self.transport.close()

    def refuse(self, error: GatewayError) -> None:
        """Answer and close. Where an earlier request is not yet answered, only close: this would be taken for its
        answer."""
        self.lingers = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        response = build_problem_response(error, instance=None, request_id=secrets.token_hex(8))
        default = self.bounds.encode_default(self.server_state.default_headers)
        end = b"\r\n" if response.closes else b"connection: close\r\n\r\n"
        head = STATUS_LINE[error.status], default, response.encode_headers(), end
        self.transport.write(b"".join((*head, response.body)))
        self._linger()

    def close(self) -> None:
        """Close behind the last answer. Where the request is still coming, its rest is read and dropped first: the
        reset that it would cause could take the answer away from its caller (RFC 9112 §9.6)."""
        if self._in_body and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self.lingers = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self.seen_at = time.monotonic()
            self._linger_end = self.seen_at + (LONGEST_LINGER if self._in_body else LAST_WORDS)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The gateway stops: close, now or behind the answer that is awaited."""
        if self.lingers:
            return
        if self.cycle is None or self.cycle.response_complete:
            self.close()
        else:
            self.cycle.keep_alive = False

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def _describe_long_head(self) -> GatewayError:
        return UriTooLong() if len(self.url) > MAX_HEAD // 2 else HeadersTooLarge()

    def _encode_plain_head(self) -> bytes:
        """The head of this request without its offer to upgrade."""
        version = self.parser.get_http_version().encode()
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"%b%b\r\n" % (line, encode_fields(without_upgrade(self.headers)))

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        head, self._plain_head = self._plain_head, None
        if head is None or head.startswith(b"CONNECT "):
            self.refuse(BadRequest())
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(head + rest)


Protocol = Callable[..., GatewayProtocol]
"""What uvicorn makes of each connection."""
