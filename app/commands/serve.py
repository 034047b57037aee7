"""`nats-http serve`: the gateway in this process."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine

import structlog
import uvicorn

from .. import __version__
from ..http.lane import LaneName
from ..http.sockets import describe_address
from ..main import build_gateway
from ..observe.board import Boards
from ..settings import Settings
from .extension import load_extension
from .listeners import Listeners
from .pipes import PipeSource
from .reload import FileSource, serve_and_reload
from .succession import accept_when_connected
from .systemd import Notifier, tell_life

_log = structlog.get_logger("nats-http.serve")


def run_gateway(
    settings: Settings,
    listeners: Listeners,
    source: FileSource | PipeSource,
    *,
    lane: LaneName | None,
    extend: str | None,
    boards: Boards | None = None,
    sign_fd: int | None = None,
    notifier: Notifier | None = None,
) -> None:
    """Serve until a signal, then drain, and return when all is closed. Raises RouteFileError and CannotStart.

    `extend` names a function that adds to the application. A worker has `boards`, the memory that it shares with other
    processes, and `sign_fd`, a pipe to which it writes a byte when it serves. `notifier` is for a gateway without
    workers.
    """
    certificate = source.load_certificate()
    gateway = build_gateway(settings, routes=source.load(), boards=boards, certificate=certificate)
    if extend:
        load_extension(extend)(gateway.app)
    if listeners.given:
        accept_when_connected(gateway)
    lane = gateway.choose_lane(lane)
    server = gateway.make_server(lane=lane, drain_timeout=settings.drain_timeout)
    count = len(gateway.serving.table.routes)
    address, pages = describe_address(listeners.main, scheme=settings.scheme), listeners.addresses_beside
    _log.info("listening", address=address, pages=pages, version=__version__, routes=count, lane=lane)

    async def serve() -> None:
        telling = _sign(server, sign_fd) if sign_fd is not None else None
        if notifier:
            telling = tell_life(notifier, lambda: server.started, gateway.drain, routes=count)
        async with _running(telling):
            await serve_and_reload(source, server, listeners, gateway)

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve())
    _log.info("stopped")


@contextlib.asynccontextmanager
async def _running(aside: Coroutine[None, None, None] | None) -> AsyncIterator[None]:
    task = asyncio.create_task(aside) if aside else None
    try:
        yield
    finally:
        if task:
            task.cancel()


async def _sign(server: uvicorn.Server, fd: int) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    with contextlib.suppress(OSError):  # the parent has gone, and its guard ends this process
        os.write(fd, b".")
    os.close(fd)
