"""The fast lane: the relay inside uvicorn's HTTP/1.1 protocol, without the cost of ASGI.

It answers requests for routes, with the same bytes that the ASGI lane would make uvicorn write. All other requests go
on to the application: other paths, and `Expect: 100-continue`.

A FastExchange takes the place of uvicorn's `RequestResponseCycle`. tests/http/test_uvicorn_contract.py checks which of
its attributes uvicorn's protocol uses.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..checks.checker import Checker
from ..deadlines import Deadlines
from ..edge.proxy_protocol import ProxyHeader
from ..edge.request import Request
from ..errors import BadRequest
from ..exchange.outbound import Outbound, Streaming, Waiting
from ..exchange.relay import Relay
from ..exchange.responses import Response
from ..nats.in_flight import Sender
from .bounds import Bounds
from .fast_exchange import FastExchange
from .intake import BODY
from .protocol import GatewayProtocol

_log = structlog.get_logger("nats-http.fast")


class FastProtocol(GatewayProtocol):
    """One connection. `relay` and `links` answer its requests. While `drain` is set, every response closes it.
    `deadlines` limits the time for request bodies."""

    lane = "fast"

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
        relay: Relay,
        links: Mapping[str, Sender],
        checker: Checker,
        may_be_page: Callable[[bytes], bool],
        drain: asyncio.Event,
        deadlines: Deadlines,
        announced: ProxyHeader | BadRequest | None = None,
    ) -> None:
        super().__init__(
            config,
            server_state,
            app_state,
            _loop,
            bounds=bounds,
            way_out=relay.way_out,
            proxies=relay.proxies,
            announced=announced,
        )
        self.relay = relay
        self.links = links
        self.checker = checker
        self._may_be_page = may_be_page
        self._drain = drain
        self.deadlines = deadlines
        self._exchange: FastExchange | None = None
        self._held: Response | None = None
        """A response that waits until the caller has read the earlier ones."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the request in flight, whose caller has gone, and make its record."""
        super().connection_lost(exc)
        held, self._held = self._held, None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnected = True
            exchange.set()
            response = held or exchange.describe_caller_gone()
            caller = exchange.request.caller
            self.way_out.leave(response, exchange.request, caller, bytes_in=exchange.bytes_in, is_written=False)

    def begin_request(self) -> None:
        """Answer the request here if it is for a route, else hand it on."""
        request = self.read_request()
        if self.expect_100_continue:
            self._hand_on(request)
            return
        try:
            begun = self.relay.begin(request)
        except Exception:
            begun = self.fail(request)
        if begun is None and not self._may_be_page(request.path):
            begun = self.relay.not_found(request)
        # The usual case comes first: checking all others before it would cost 1 % of a request.
        if isinstance(begun, Outbound) and not begun.plan.is_stream:
            self._exchange = self.cycle = exchange = FastExchange(self, request, self.keeps_alive)  # type: ignore[assignment]
            exchange.start(begun)
        elif isinstance(begun, Response):
            self._exchange = self.cycle = exchange = FastExchange(self, request, self.keeps_alive)  # type: ignore[assignment]
            exchange.respond(begun)
        else:
            self._hand_on(request, begun)

    def _hand_on(self, request: Request, begun: Waiting | Streaming | Outbound | None = None) -> None:
        """Leave the request to the application. The ASGI lane goes on with `begun`."""
        request.caller = replace(request.caller, lane="asgi")
        if begun is None:  # the ASGI lane begins it again, which adds its fields again
            request.added, request.vary = (), b""
        self.begin_application(request).begun = begun

    def on_body(self, body: bytes) -> None:
        """Give a piece of the body to the exchange that waits for it, or to uvicorn's class."""
        exchange = self._exchange
        if exchange is not None and exchange is self.cycle:  # type: ignore[comparison-overlap]
            self.extra = 0
            exchange.add_body(body)
        else:
            super().on_body(body)

    def end_request(self) -> None:
        """Send the complete request, if its exchange has waited for the body."""
        exchange = self._exchange
        if exchange is None or exchange is not self.cycle:  # type: ignore[comparison-overlap]
            super().end_request()
            return
        exchange.more_body = False
        if exchange.reads_body:
            exchange.end_body()

    @property
    def _incomplete(self) -> FastExchange | None:
        """The exchange that waits for more of its body, or None."""
        exchange = self._exchange
        return exchange if exchange is not None and exchange.reads_body else None

    def begin_long_body(self, length: int | None) -> None:
        """Let an exchange ask for memory, and limit its time."""
        if exchange := self._incomplete:
            exchange.read_on(length)

    def waits_for_memory(self) -> bool:
        """Whether the body that is coming waits for memory."""
        exchange = self._incomplete
        return exchange is not None and exchange.waits_for_memory

    def count_kept_body(self) -> int:
        """The number of bytes of a body that nobody else counts."""
        if self.phase != BODY or not isinstance(self.cycle, FastExchange):
            return super().count_kept_body()
        return len(self.cycle.body) if self.cycle.waits_for_memory else 0

    def is_at_work(self) -> bool:
        """Whether the request in flight has gone to the service, or has a response on its way."""
        return not self.cycle.reads_body if isinstance(self.cycle, FastExchange) else super().is_at_work()

    def find_request(self) -> Request:
        """The head of the request in flight."""
        return self.cycle.request if isinstance(self.cycle, FastExchange) else super().find_request()

    def find_route(self) -> str | None:
        """The route's name of the request in flight, if it is known."""
        return self.cycle.route if isinstance(self.cycle, FastExchange) else super().find_route()

    def give_up(self) -> None:
        """Drop the request in flight without an answer."""
        if self._exchange is not None:
            self._exchange = self.side = None
        super().give_up()

    def fail(self, request: Request, route: str | None = None) -> Response:
        """The answer after a bug in the gateway. Call this in the except clause, since it logs the exception."""
        response = self.relay.fail(request, route)
        _log.exception("internal-error", request_id=response.request_id.decode("ascii"))
        return response

    def write_response(self, response: Response) -> None:
        """Write a response now, or once the caller has read the earlier ones. The last one closes the connection."""
        exchange = self._exchange
        if exchange is None or self.transport.is_closing():
            return
        if self.flow.write_paused:
            self._held = response
            self.note_unread(len(response.body))
            return
        if self._drain.is_set():
            exchange.keep_alive = False
        self._exchange = None
        self.write_whole(response, exchange.request, exchange.bytes_in)

    def resume_writing(self) -> None:
        """Write the held response, since the caller has read the earlier ones."""
        super().resume_writing()
        if self._held is not None:
            held, self._held = self._held, None
            self.write_response(held)
