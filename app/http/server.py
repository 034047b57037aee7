"""Runs uvicorn with bounds on its connections, and with a stop that loses no accepted request.

Uses internals of uvicorn 0.54. tests/http/test_uvicorn_contract.py checks them, and tests/process/ runs all of this for
real.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from types import FrameType
from typing import Any, Literal

import structlog
import uvicorn
from starlette.types import ASGIApp

from ..pieces import Steps
from .arrivals import Arrivals
from .bounds import Bounds
from .patience import LAST_WORDS
from .process import fit_connections, freeze_heap, keep_heap
from .protocol import GatewayProtocol, ProtocolFactory
from .sockets import BACKLOG, GivenSocket
from .survey import Survey, survey_connections

ACCEPT_REST = 0.3  # seconds to accept the connections that the kernel already has when the gateway stops
LINGER = 0.5  # seconds in which idle connections may still send a request when the gateway stops
CHECK_TICKS = 10  # each connection is checked once in this number of ticks, of 0.1 s each

_log = structlog.get_logger("nats-http.server")


def build_config(
    app: ASGIApp,
    protocol: ProtocolFactory,
    *,
    lifespan: Literal["on", "off"] = "on",
    headers: Iterable[tuple[str, str]] = (),
) -> uvicorn.Config:
    """The configuration of uvicorn. Logging is set up elsewhere. `headers` are added to every response."""
    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type] # uvicorn calls it
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=list(headers),
        backlog=BACKLOG,
    )


class GatewayServer(uvicorn.Server):
    """Serves connections with `protocol`, within `bounds`. `takes_crowds` says whether it accepts more than one of them
    in a turn of the event loop.

    It stops in this order (ADR 3):
    1. `/readyz` answers 503, and every response closes its connection.
    2. The kernel takes no new connections. Those that it already has are accepted. From a given socket, no more are
       accepted: they wait for the next gateway on it.
    3. Requests in flight finish, within the drain timeout.
    4. The connection to NATS is closed, which answers all remaining requests. Callers have LAST_WORDS to read that.
    5. The process ends with 0.
    A second signal ends all waiting."""

    def __init__(
        self,
        app: ASGIApp,
        protocol: ProtocolFactory,
        *,
        bounds: Bounds,
        drain: asyncio.Event,
        drain_timeout: float,
        headers: Iterable[tuple[str, str]] = (),
        takes_crowds: bool = True,
    ) -> None:
        super().__init__(build_config(app, self._note_arrival, headers=headers))
        self.protocol = protocol
        self._takes_crowds = takes_crowds
        self._arrivals: Arrivals | None = None
        self._bounds = bounds
        self._drain = drain
        self._drain_timeout = drain_timeout

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. Then fit the number of connections to the limit of open files, and set up the heap."""
        await super().startup(sockets)
        if self._takes_crowds:
            state = self.server_state
            make_protocol = partial(self.protocol, self.config, state, self.lifespan.state)
            self._arrivals = Arrivals(sockets or (), make_protocol, lambda: state.total_requests)
        self._bounds.maximum = fit_connections(self._bounds.maximum)
        keep_heap()
        freeze_heap()

    def _note_arrival(self, **parameters: Any) -> asyncio.Protocol:
        """The protocol of a connection that libuv has accepted."""
        if self._arrivals:
            self._arrivals.note()
        return self.protocol(**parameters)

    def handle_exit(self, _sig: int, _frame: FrameType | None) -> None:
        """Begin to stop at the first signal, and end all waiting at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True

    def survey(self) -> Steps[Survey]:
        """What all connections do just now, found in short steps."""
        return survey_connections(self.server_state.connections)  # type: ignore[arg-type] # of our protocol

    def _check(self) -> None:
        connections = self.server_state.connections
        try:
            self._bounds.check(connections, parts=CHECK_TICKS)  # type: ignore[arg-type] # of our protocol
        except Exception:  # a bug in one connection must not end the server
            _log.exception("check-failed")

    async def on_tick(self, counter: int) -> bool:
        """Check connections, then do as uvicorn."""
        self._check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in the order that the class promises, within the drain timeout plus LAST_WORDS."""
        end = time.monotonic() + self._drain_timeout
        self._drain.set()
        own = [listener for listener in sockets or [] if not isinstance(listener, GivenSocket)]
        for listener in own:
            listener.listen(0)  # the kernel takes no more; `close` would reset connections that we have not accepted
        await self._wait(min(ACCEPT_REST, self._drain_timeout), lambda: not own)
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._wait_for_answers(min(LINGER, end - time.monotonic()))
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait_for_answers(end - time.monotonic())
        await self.lifespan.shutdown()
        await self._wait(LAST_WORDS, lambda: not self.server_state.connections)
        self._bounds.handshakes.abort_all()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    async def _wait_for_answers(self, seconds: float) -> None:
        connections: set[GatewayProtocol] = self.server_state.connections  # type: ignore[assignment] # they are of it
        await self._wait(seconds, lambda: all(connection.lingers for connection in connections))

    async def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not self.force_exit and not condition() and time.monotonic() < end:
            self._check()  # uvicorn has no more ticks
            await asyncio.sleep(0.02)


class ServerBeside(GatewayServer):
    """Serves pages at an address of their own, in the event loop of the gateway's server. It handles no signals, and
    has no lifespan. `serving_beside` ends it."""

    def __init__(
        self, app: ASGIApp, protocol: ProtocolFactory, *, bounds: Bounds, drain: asyncio.Event, drain_timeout: float
    ) -> None:
        super().__init__(app, protocol, bounds=bounds, drain=drain, drain_timeout=drain_timeout)
        self.config = build_config(app, self._note_arrival, lifespan="off")

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override] # as it is used
        """Captures no signals: the server of the main port does."""
        return contextlib.nullcontext()


@contextlib.asynccontextmanager
async def serving_beside(servers: Iterable[tuple[ServerBeside, socket.socket]]) -> AsyncIterator[None]:
    """Run these servers until the end of the `async with` block."""
    started = [(server, asyncio.create_task(server.serve([listener]))) for server, listener in servers]
    try:
        yield
    finally:
        for server, _ in started:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in started))
