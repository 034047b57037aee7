"""uvicorn's HTTP/1.1 protocol, with bounds on what one connection may take. It reads heads and writes whole answers in
ways of its own; what else an application sends uvicorn writes.

This module uses internals of uvicorn 0.54. tests/http/test_uvicorn_contract.py checks them.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ..edge.proxies import Proxies
from ..edge.proxy_protocol import ProxyHeader
from ..edge.request import Caller, PeerCertificate, Request, find_caller
from ..errors import BadRequest, GatewayError, Overloaded
from ..exchange.responses import Response
from ..exchange.way_out import WayOut
from .answers import Answers
from .asgi_exchange import SERVER, ServerSide
from .bounds import Bounds
from .cycle import Cycle
from .intake import BODY, IDLE
from .tls_connection import PEER_CERTIFICATE

APPLICATION = 0.0003  # seconds that an application takes to begin a request, roughly
RESERVE = 128  # connections over the maximum that get an answer; further ones are only closed


class GatewayProtocol(Answers):
    """One connection, whose requests go to the application. The number of connections is limited. `announced` is the
    PROXY header that came before HTTP, or the error in it."""

    lane = "asgi"

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
        way_out: WayOut,
        proxies: Proxies,
        announced: ProxyHeader | BadRequest | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, bounds=bounds, way_out=way_out, proxies=proxies)
        self._announced = announced
        self.side: ServerSide | None = None
        """The state of the current request that is shared with the application."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin the connection. If there are too many, another one makes room, or this one is refused."""
        super().connection_made(transport)
        self.caller = self._find_caller(transport.get_extra_info(PEER_CERTIFICATE))
        self._of_cycles = SimpleNamespace(write=self.write, is_closing=transport.is_closing, close=self.close)
        excess = len(self.connections) - self.bounds.maximum
        if excess <= 0 or self.bounds.make_room(self._list_others()):
            if isinstance(self._announced, BadRequest):
                self.refuse(self._announced)
            return
        is_answered = excess <= RESERVE
        self.way_out.refuse_connection("answered" if is_answered else "unanswered")
        if is_answered:
            self.refuse(Overloaded("The gateway has too many connections."))
        else:
            transport.abort()

    def _find_caller(self, certificate: PeerCertificate | None) -> Caller:
        """The client that a PROXY header names, else the peer. A client that the proxy does not know has no address.
        The certificate of a trusted proxy is dropped: it is not that of a caller whom the proxy does not name."""
        address, said = self.client[0] if self.client else None, self._announced
        if not isinstance(said, ProxyHeader) or said.is_local:
            certificate = None if self.proxies.trusts(address) else certificate
            return find_caller(address, self.scheme, self.lane, certificate=certificate)
        self.client = said.source
        announced = said.source[0] if said.source else None
        certificate = None if self.proxies.trusts(announced) else certificate
        return find_caller(announced, self.scheme, self.lane, certificate=certificate, peer=address)

    def _list_others(self) -> "Iterator[GatewayProtocol]":
        return (one for one in self.connections if one is not self)  # type: ignore[misc] # they are of our protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all references: a reference cycle would stay in memory until a full garbage collection."""
        self._note_given_up()
        super().connection_lost(exc)
        self.stop_listening()
        self.bounds.unread.note(self, 0)
        self._of_cycles = self.cycle = self.scope = self.side = None  # type: ignore[assignment]

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's returns None, which closes
        """Keep the connection open if a complete request waits for its answer."""
        if self.phase == BODY or self.lingers or not self.is_in_flight:
            return False
        self.is_half_closed = True
        self.begin_answer()
        if self.side is not None and self.side.nudge is not None:
            self.side.nudge()
        if not self.has_rest:
            self.end_after_answer()
        return True

    def go_on(self) -> None:
        """As in Intake. Then close, if the caller has closed its sending half and no request is left."""
        super().go_on()
        if self.is_half_closed and not self.has_rest and self.phase == IDLE:
            self.end_after_answer()

    # The request

    def begin_request(self) -> None:
        """Give the request to the application. The fast lane answers it here instead."""
        request = self.read_request()
        if self.proxies.are_trusted:
            request.caller = self.proxies.believe(request.caller, request.headers)
        self.begin_application(request)

    def begin_application(self, request: Request) -> ServerSide:
        """Let the application answer the request. Returns the state that it shares with it."""
        self.side = side = ServerSide(self, request)
        raw_path = request.path
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": request.version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": request.method,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": request.query,
            "headers": list(request.headers),  # a copy: middleware may change it
            "state": self.app_state.copy(),
            SERVER: side,
        }
        self.cycle = Cycle(
            scope,
            self._of_cycles,
            self.flow,
            self.server_state.default_headers,
            self.expect_100_continue,
            self.keeps_alive,
            self.on_response_complete,
        )
        if self.is_expensive:
            self._take_turn(self.cycle)
        else:
            self._start(self.cycle)
        return side

    def _take_turn(self, cycle: RequestResponseCycle) -> None:
        """Start the application in a turn of its own: it is expensive, and so are the requests of this connection."""
        if self.bounds.turns.is_used_up:
            self.bounds.turns.wait(partial(self._take_turn, cycle))
        else:
            self.bounds.turns.spend(APPLICATION)
            self._start(cycle)

    def _start(self, cycle: RequestResponseCycle) -> None:
        task = self.loop.create_task(cycle.run_asgi(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def end_request(self) -> None:
        """Let the application read the end of the body."""
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def is_gone(self) -> bool:
        """As in ServerConnection."""
        return self.transport.is_closing()

    def has_left(self) -> bool:
        """As in ServerConnection."""
        return self.cycle is None or self.cycle.disconnected

    def has_whole_body(self) -> bool:
        """As in ServerConnection."""
        return self.phase != BODY

    def count_kept_body(self) -> int:
        """As in Intake."""
        return len(self.cycle.body) if self.phase == BODY and self.is_in_flight else 0

    # The answer, as the application sees it

    def has_unread(self) -> bool:
        """As in ServerConnection."""
        return self.flow.write_paused

    async def wait_for_reader(self) -> None:
        """As in ServerConnection."""
        await self.flow.drain()

    def answer(self, response: Response, request: Request, bytes_in: int, *, is_last: bool) -> bool:
        """As in ServerConnection. The cycle is then as if the application had sent the response."""
        cycle = self.cycle
        if cycle is None or cycle.disconnected:
            return False
        cycle.response_started, cycle.waiting_for_100_continue = True, False
        if self.transport.is_closing():
            cycle.response_complete = True
            return False
        if is_last:
            cycle.keep_alive = False
        self.write_whole(response, request, bytes_in)
        cycle.message_event.set()
        return True

    def end_broken_body(self, error: GatewayError) -> None:
        """End a request whose body can't be read to its end. If it is already at work, it still gets its answer."""
        if self.lingers or self.transport.is_closing():
            return
        if self.is_in_flight and not self.is_at_work():
            request, route = self.find_request(), self.find_route()
            self.give_up()
            self.refuse(error, request, route)
        else:
            self.end_after_answer()

    def is_at_work(self) -> bool:
        """Whether the request in flight has gone to the service, or has a response on its way."""
        return self.cycle.response_started or (self.side is not None and self.side.is_sent)

    def find_request(self) -> Request:
        """The head of the request in flight."""
        assert self.side is not None  # noqa: S101 - for mypy: a request is in flight
        return self.side.request

    def find_route(self) -> str | None:
        """The route's name of the request in flight, if it is known."""
        return self.side.route if self.side is not None else None

    def give_up(self) -> None:
        """Drop the request in flight without an answer. The application learns that its caller has gone."""
        if self.side is not None:
            self.side.is_given_up = True
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self.cycle.response_complete = True
        self.cycle.body = bytearray()
        self._note_given_up()

    def _note_given_up(self) -> None:
        if self.side is not None and self.side.give_up:
            self.side.give_up()


ProtocolFactory = Callable[..., asyncio.Protocol]
"""The function that uvicorn calls for each connection."""
