"""uvicorn, as this gateway runs it: its own answers to broken HTTP, and a stop that loses no accepted request.

Leans on uvicorn 0.54: the callbacks and attributes of `HttpToolsProtocol`, `Server.shutdown`, `.handle_exit`,
`.lifespan` and `.servers`; tests/process/ runs all of it for real.
"""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Callable
from types import FrameType

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import (
    PROBLEM_TYPE,
    BadRequest,
    GatewayError,
    HeadersTooLarge,
    RequestTimeout,
    UriTooLong,
    build_problem,
)

BACKLOG = 2048  # connections that the kernel holds for us
KEEP_ALIVE = 75  # seconds; longer than the 60 of common load balancers, so that they close first
ACCEPT_REST = 0.3  # seconds to accept the connections that the kernel already holds when the gateway stops
LINGER = 0.5  # seconds in which idle connections may still send a request when the gateway stops
MAX_HEAD = 64 * 1024  # bytes of a request head
HEAD_TIMEOUT = 10.0  # seconds that a request head may take to arrive
LAST_WORDS = 1.0  # seconds to write the answers of what was cut off


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, but: what is no HTTP gets a problem document, the head of a request is bounded in
    size and time, and an offer to upgrade is ignored (RFC 9110 §7.8), so that the body stays a body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._in_head = False
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._plain_head: bytes | None = None
        self._refused = False
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_head_timer()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        began_before = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.refuse(BadRequest())
        else:
            if self._in_head:
                self._bound_head(len(data) if began_before else 0)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_head_timer()
        if self.parser.should_upgrade():
            self._plain_head = self._encode_plain_head()
        else:
            self.begin_request()

    def begin_request(self) -> None:
        """A head is complete: the request goes to the application. A lane may answer it here instead."""
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._plain_head is None:
            super().on_message_complete()

    def refuse(self, error: GatewayError) -> None:
        """Answer and close. Where an earlier request is not yet answered, only close: this would be taken for its
        answer."""
        self._stop_head_timer()
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        request_id = secrets.token_hex(8)
        problem = build_problem(error, instance="", request_id=request_id)
        del problem["instance"]
        body = json.dumps(problem, separators=(",", ":")).encode("ascii")
        fields = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n"
        head = [STATUS_LINE[error.status], *(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)]
        self.transport.write(b"".join([*head, fields % (PROBLEM_TYPE, len(body), request_id.encode()), body]))
        self._linger()

    def _linger(self) -> None:
        """Close in a way that lets the answer arrive: what still comes is read and dropped (RFC 9112 §9.6)."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LAST_WORDS, self.transport.abort)
        else:
            self.transport.close()

    def _bound_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self.refuse(HeadersTooLarge() if self.headers else UriTooLong())
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.refuse, RequestTimeout())

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _encode_plain_head(self) -> bytes:
        """The head of this request without its offer to upgrade."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(token for token in value.split(b",") if token.strip().lower() not in _UPGRADE)
            if name not in _UPGRADE:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        head, self._plain_head = self._plain_head, None
        if head is None or head.startswith(b"CONNECT "):
            self.refuse(BadRequest())
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(head + rest)


_UPGRADE = frozenset((b"upgrade", b"http2-settings"))


def build_config(app: ASGIApp, *, protocol: Callable[..., GatewayProtocol] = GatewayProtocol) -> uvicorn.Config:
    """How uvicorn is run, in `serve` and in `dev`. Logging is set up before."""
    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type] # uvicorn calls it
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
    )


class GatewayServer(uvicorn.Server):
    """Stops in this order: `/readyz` says 503 and every response closes its connection; the kernel takes no new
    connections, and those that it holds are accepted; requests in flight finish, for at most the drain timeout; NATS is
    closed, which answers what is left; the process ends with 0. A second signal cuts all waiting. ADR 3."""

    def __init__(self, config: uvicorn.Config, *, drain_timeout: float) -> None:
        super().__init__(config)
        self._drain_timeout = drain_timeout

    def handle_exit(self, _sig: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["drain"].set()
        for listener in sockets or []:
            listener.listen(0)  # the kernel takes no more; closing now would reset those that it already holds for us
        await self._wait(ACCEPT_REST, lambda: False)
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._wait_for_connections(LINGER)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait_for_connections(self._drain_timeout)
        await self.lifespan.shutdown()
        await self._wait_for_connections(LAST_WORDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    async def _wait_for_connections(self, seconds: float) -> None:
        await self._wait(seconds, lambda: not self.server_state.connections)

    async def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not self.force_exit and not condition() and time.monotonic() < end:
            await asyncio.sleep(0.02)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; OSError when the address can't be had. Port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Connections inherit it. asyncio sets it on none that comes from such a listener: head and body of a response are
    # two writes, and the second would wait for the caller's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def describe_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
