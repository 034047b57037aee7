"""The relay inside uvicorn's HTTP/1.1 protocol: the same core as over ASGI, without the cost of ASGI.

What is a route is answered here, and the bytes are those that `lanes/asgi.py` would have made uvicorn write. The rest
goes on to uvicorn's own class unchanged: other paths, `Expect: 100-continue`, a request behind one that is still in
flight.

An exchange stands in the place of uvicorn's `RequestResponseCycle`, which the protocol asks for what is named below;
tests/test_uvicorn_contract.py holds uvicorn to it.
"""

import asyncio
import time
from typing import Any

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from app.errors import GatewayError, RequestTimeout
from app.link import Link, Outcome, Sent
from app.relay import Outbound, Relay, Request, Response, body_too_large
from app.server import GatewayProtocol

_CLOSE = (b"connection", b"close")

_log = structlog.get_logger("nats-http.fast")


class FastProtocol(GatewayProtocol):
    """One connection. `relay` and `link` answer its requests; while `drain` is set every response closes it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        relay: Relay,
        link: Link,
        drain: asyncio.Event,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.relay = relay
        self.link = link
        self.drain = drain
        self._exchange: Exchange | None = None
        self._held: bytes | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._held = None
        if self._exchange is not None:
            self._exchange.disconnected = True
            self._exchange.set()

    def begin_request(self) -> None:
        if self.expect_100_continue or not (self.cycle is None or self.cycle.response_complete):
            super().begin_request()
            return
        parsed = httptools.parse_url(self.url)
        if parsed.path is None:
            super().begin_request()
            return
        request = Request(
            self.parser.get_method().decode("ascii"), parsed.path, parsed.query or b"", self.headers, time.monotonic()
        )
        try:
            begun = self.relay.begin(request)
        except Exception:
            begun = self.fail(request)
        if begun is None:
            super().begin_request()
            return
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self._exchange = self.cycle = Exchange(self, request, keep_alive=keep_alive)  # type: ignore[assignment]
        self._exchange.start(begun)

    def fail(self, request: Request) -> Response:
        """The answer to a bug of ours, in the except clause that caught it."""
        response = self.relay.fail(request)
        _log.exception("internal-error", request_id=dict(response.headers)[b"x-request-id"].decode("ascii"))
        return response

    def write_response(self, data: bytes) -> None:
        """Now, or once the caller reads again what it has been sent."""
        if self.flow.write_paused:
            self._held = data
        else:
            self._write(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held is not None:
            data, self._held = self._held, None
            self._write(data)

    def _write(self, data: bytes) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None or self.transport.is_closing():
            return
        exchange.response_complete = True
        self.transport.write(data)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()


class Exchange:
    """One request on a connection, from its head to its response."""

    __slots__ = (
        "_body_timer",
        "_outbound",
        "_protocol",
        "_request",
        "_sent",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
    )

    def __init__(self, protocol: FastProtocol, request: Request, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self._request = request
        self._outbound: Outbound | None = None
        self._sent: Sent | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        # What uvicorn's protocol looks at and sets.
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.message_event = self

    def start(self, begun: Outbound | Response) -> None:
        """Send, once the body is there where the route takes one; or respond."""
        if isinstance(begun, Response):
            self._respond(begun)
            return
        self._outbound = begun
        if begun.max_body is None:
            self._send(begun)
        else:
            delay = begun.deadline - time.monotonic()
            self._body_timer = self._protocol.loop.call_later(delay, self._refuse, RequestTimeout())

    def set(self) -> None:
        """Something has happened, says the protocol: a piece of the body, its end, or that the caller has gone."""
        if self.response_complete:
            return
        if self.disconnected:
            self._abandon()
        elif self._outbound is None or self._outbound.max_body is None or self._sent is not None:
            self.body.clear()
            self._protocol.flow.resume_reading()
        elif len(self.body) > self._outbound.max_body:
            self._refuse(body_too_large(self._outbound.max_body))
        elif self.more_body:
            self._protocol.flow.resume_reading()
        else:
            self._load(self._outbound)

    def _load(self, outbound: Outbound) -> None:
        self._stop_body_timer()
        try:
            refused = self._protocol.relay.load(outbound, bytes(self.body))
        except Exception:
            refused = self._protocol.fail(self._request)
        self.body.clear()
        if refused is None:
            self._send(outbound)
        else:
            self._respond(refused)

    def _send(self, outbound: Outbound) -> None:
        self._sent = self._protocol.link.send(outbound.subject, outbound.headers, outbound.payload, outbound.deadline)
        self._sent.future.add_done_callback(self._take_outcome)

    def _take_outcome(self, future: "asyncio.Future[Outcome]") -> None:
        if future.cancelled() or self._outbound is None:
            return
        try:
            response = self._protocol.relay.finish(self._outbound, future.result())
        except Exception:
            response = self._protocol.fail(self._request)
        self._respond(response)

    def _refuse(self, error: GatewayError) -> None:
        self._stop_body_timer()
        if self._outbound is not None:
            self._respond(self._protocol.relay.refuse(self._outbound, error))

    def _respond(self, response: Response) -> None:
        self.body.clear()
        headers = response.headers
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive or self._protocol.drain.is_set():
            self.keep_alive = False
            headers = [*headers, _CLOSE]
        fields = [b"%b: %b\r\n" % pair for pair in (*self._protocol.server_state.default_headers, *headers)]
        self._protocol.write_response(b"".join([STATUS_LINE[response.status], *fields, b"\r\n", response.body]))

    def _abandon(self) -> None:
        self._stop_body_timer()
        self.response_complete = True
        if self._sent is not None:
            self._sent.abandon()

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
