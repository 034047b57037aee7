"""The relay inside uvicorn's HTTP/1.1 protocol: the same core as over ASGI, without the cost of ASGI.

What is a route is answered here, and the bytes are those that `lanes/asgi.py` would have made uvicorn write. The rest
goes on to uvicorn's own class unchanged: other paths, and `Expect: 100-continue`.

An exchange stands in the place of uvicorn's `RequestResponseCycle`, which the protocol asks for what is named below;
tests/test_uvicorn_contract.py holds uvicorn to it.
"""

import asyncio
import time
from functools import partial
from typing import Any

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.bounds import Bounds
from app.checker import Checker
from app.deadlines import Deadlines
from app.errors import GatewayError, RequestTimeout
from app.inflight import Outcome, Sent
from app.intake import BODY, HEAD, IDLE
from app.lanes.loading import Checking, load_body
from app.link import Link
from app.outgoing import BIG
from app.protocol import NOTHING, GatewayProtocol
from app.relay import Outbound, Relay, Request, body_too_large, no_memory
from app.responses import Response

_SLASH = ord("/")

_log = structlog.get_logger("nats-http.fast")


class FastProtocol(GatewayProtocol):
    """One connection. `relay` and `link` answer its requests; while `drain` is set every response closes it.
    `deadlines` are those of request bodies."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
        relay: Relay,
        link: Link,
        checker: Checker,
        drain: asyncio.Event,
        deadlines: Deadlines,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, bounds=bounds)
        self.relay = relay
        self.link = link
        self.checker = checker
        self._drain = drain
        self.deadlines = deadlines
        self._exchange: Exchange | None = None
        self._held: tuple[bytes, bytes, bool] | None = None
        """Head and body of a response that waits for the caller to read, and whether the connection is kept then."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._held = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnected = True
            exchange.set()

    def on_message_begin(self) -> None:
        """As in uvicorn, but for the scope: `_hand_on` makes it for an application."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._noted = NOTHING
        self.phase = HEAD

    def begin_request(self) -> None:
        """Answer the request here where it is for a route, and hand on everything else."""
        if self.expect_100_continue:
            self._hand_on()
            return
        target = self.url
        if b"#" in target or target[0] != _SLASH:
            path, query = split_target(target)
        else:
            path, _, query = target.partition(b"?")
        peer = self.client[0] if self.client else None
        request = Request(self.parser.get_method().decode("ascii"), path, query, self.headers, time.monotonic(), peer)
        try:
            begun = self.relay.begin(request)
        except Exception:
            begun = self.fail(request)
        if begun is None:
            self._hand_on()
            return
        exchange = Exchange(self, request, self.keeps_alive)
        self._exchange = self.cycle = exchange  # type: ignore[assignment]
        if isinstance(begun, Outbound):
            exchange.start(begun)
        else:
            exchange.respond(begun)

    def _hand_on(self) -> None:
        """Leave the request to uvicorn's class, as if it had seen all of it."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().begin_request()

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange is self.cycle:  # type: ignore[comparison-overlap]
            self.extra = 0
            exchange.add_body(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange is not self.cycle or self._plain_head is not None:  # type: ignore[comparison-overlap]
            super().on_message_complete()
            return
        self.phase = IDLE
        exchange.more_body = False
        if self.body_left is None:
            self.end_chunks()
        if exchange.reads_body:
            exchange.end_body()

    @property
    def _incomplete(self) -> "Exchange | None":
        """The exchange whose body is coming."""
        exchange = self._exchange
        return exchange if exchange is not None and exchange.reads_body else None

    def begin_long_body(self, length: int | None) -> None:
        if exchange := self._incomplete:
            exchange.ask_for_memory(length)

    def waits_for_memory(self) -> bool:
        exchange = self._incomplete
        return exchange is not None and exchange.waits_for_memory

    def count_kept_body(self) -> int:
        if self.phase != BODY or not isinstance(self.cycle, Exchange):
            return super().count_kept_body()
        return len(self.cycle.body) if self.cycle.waits_for_memory else 0

    def is_at_work(self) -> bool:
        return not self.cycle.reads_body if isinstance(self.cycle, Exchange) else super().is_at_work()

    def give_up(self) -> None:
        self._exchange = None
        super().give_up()

    def fail(self, request: Request) -> Response:
        """The answer to a bug of ours, in the except clause that caught it."""
        response = self.relay.fail(request)
        _log.exception("internal-error", request_id=dict(response.headers)[b"x-request-id"].decode("ascii"))
        return response

    def write_response(self, response: Response, keep_alive: bool) -> None:
        """Now, or once the caller reads again what it has been sent. The last one of a connection closes it."""
        end = b"\r\n"
        if response.closes:
            keep_alive = False
        elif not keep_alive or self._drain.is_set():
            keep_alive = False
            end = b"connection: close\r\n\r\n"
        default = self.bounds.encode_default(self.server_state.default_headers)
        head = b"".join((STATUS_LINE[response.status], default, response.encode_headers(), end))
        if self.flow.write_paused:
            self._held = head, response.body, keep_alive
        else:
            self._write(head, response.body, keep_alive)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held is not None:
            held, self._held = self._held, None
            self._write(*held)

    def _write(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        exchange, self._exchange = self._exchange, None
        transport = self.transport
        if exchange is None or transport.is_closing():
            return
        exchange.response_complete = True
        self.steps += 1
        if self._has_begun:
            self.write(head)
            transport.write(body)
        elif len(body) > BIG:
            transport.write(head)
            transport.write(body)
        else:
            transport.write(head + body)
        if not keep_alive:
            self.close()
        elif self.flow.read_paused or self.is_deaf:
            self.go_on_after_answer()


class Exchange(Sent):
    """One request on a connection, from its head to its response."""

    # What uvicorn's protocol looks at and sets, `keep_alive` and `message_event` too.
    more_body = True
    disconnected = False
    response_started = False
    response_complete = False

    body: bytes | bytearray = b""

    reads_body = False
    """Whether the body is awaited."""
    waits_for_memory = False
    """Whether there is too little memory for it at the moment."""
    _has_asked = False
    """Whether it is known to those that grant memory."""
    _outbound: Outbound
    _checking: Checking | None = None

    def __init__(self, protocol: FastProtocol, request: Request, keep_alive: bool) -> None:
        self._protocol = protocol
        self._request = request
        self.keep_alive = keep_alive

    @property
    def peer(self) -> str | None:
        return self._request.peer

    @property
    def message_event(self) -> "Exchange":
        return self

    def start(self, outbound: Outbound) -> None:
        """Send, once the body is there where the route takes one."""
        self._outbound = outbound
        if outbound.max_body is None:
            self._send(outbound)
        else:
            self.reads_body = True
            self.slot = self._protocol.deadlines.add(outbound.deadline, self)

    def ask_for_memory(self, length: int | None) -> None:
        """Before more of the body is read than what came with its head."""
        size = self._outbound.max_body or 0 if length is None else length
        self._has_asked = self.wants_written = True
        self.waits_for_memory = not self._protocol.bounds.uploads.ask(self, size)

    def granted(self) -> None:
        self.waits_for_memory = False
        self._protocol.loop.call_soon(self._protocol.go_on)

    def evicted(self) -> None:
        self._has_asked = False
        self._refuse(no_memory())

    def written(self) -> None:
        """The body has left this process."""
        self._release_memory()

    def _release_memory(self) -> None:
        if self._has_asked:
            self._has_asked = self.waits_for_memory = False
            self._protocol.bounds.uploads.forget(self)

    def add_body(self, piece: bytes) -> None:
        """A piece of the body; one that nobody waits for is dropped."""
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
        """The body is all there."""
        if self.reads_body:
            self._stop_reading()
            if self._has_asked:
                self._protocol.bounds.uploads.complete(self)
            body, self.body = bytes(self.body), b""
            self._load(self._outbound, body)

    def expire(self) -> None:
        """The deadline has passed, while the body was still coming or while the service was at work."""
        if self.reads_body:
            self._refuse(no_memory() if self.waits_for_memory else RequestTimeout())
        else:
            super().expire()

    def respond(self, response: Response) -> None:
        """Respond without having asked the service: a turn later, as an application would. So a body that came with the
        head is looked at first, and both lanes say the same where it is broken."""
        self._protocol.loop.call_soon(self._protocol.write_response, response, self.keep_alive)

    def set(self) -> None:
        """Something has happened, says uvicorn's protocol: here only, that the caller has gone."""
        if self.disconnected and not self.response_complete:
            self._stop_reading()
            self.body = b""
            self.response_complete = True
            if self.in_flight is None:
                self._release_memory()
            if self._checking is not None:
                self._checking.cancel()
            self.abandon()

    def _load(self, outbound: Outbound, body: bytes) -> None:
        relay, checker, fail = self._protocol.relay, self._protocol.checker, partial(self._protocol.fail, self._request)
        self._checking = load_body(relay, checker, outbound, body, fail=fail, then=self._send_loaded)

    def _send_loaded(self, refused: Response | None) -> None:
        if refused is None:
            self._send(self._outbound)
        else:
            self._release_memory()
            self.respond(refused)

    def _send(self, outbound: Outbound) -> None:
        self.share = outbound.plan.share
        link = self._protocol.link
        link.send(self, outbound.subject, outbound.headers, outbound.payload, outbound.deadline)
        outbound.payload = b""  # let go when it is written

    def take(self, outcome: Outcome) -> None:
        """Respond with what came of it."""
        try:
            response = self._protocol.relay.finish(self._outbound, outcome)
        except Exception:
            response = self._protocol.fail(self._request)
        if self.in_flight is None:  # it was not even sent
            self.respond(response)
        else:
            self._protocol.write_response(response, self.keep_alive)

    def _refuse(self, error: GatewayError) -> None:
        self._stop_reading()
        self._release_memory()
        self.body = b""
        self.respond(self._protocol.relay.refuse(self._outbound, error))

    def _stop_reading(self) -> None:
        if self.reads_body:
            self.reads_body = False
            self.slot.discard(self)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """The raw path and query of any request target; a path of b"" for one that has none, such as that of CONNECT."""
    parsed = httptools.parse_url(target)
    return parsed.path or b"", parsed.query or b""
