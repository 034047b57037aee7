"""`nats-http serve`: the gateway in this process, or in several that share one listening socket."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from functools import partial

import structlog
import uvicorn

from .. import __version__
from ..http.lane import LaneName
from ..http.sockets import describe_address
from ..main import build_gateway
from ..observe.board import Board, Boards, make_board_files
from ..observe.gauges import Reporter
from ..prepared import pack
from ..routefile.pages import check_pages
from ..settings import Settings
from .extension import load_extension
from .listeners import Listeners
from .pipes import PipeSource
from .processes import Children
from .reload import FileSource, serve_and_reload
from .snapshot import pass_on
from .snapshot_signal import answering
from .succession import accept_when_connected
from .systemd import Notifier, Parent, tell_life
from .workers import Workers

PATIENCE = 5.0  # seconds that a worker may take after its drain timeout
LOOK_INTERVAL = 0.1  # seconds between two checks of the workers

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


def run_workers(
    settings: Settings,
    listeners: Listeners,
    source: FileSource,
    notifier: Notifier,
    *,
    count: int,
    lane: LaneName | None,
    extend: str | None,
) -> bool:
    """Serve with `count` worker processes until a signal. A worker that dies is replaced. Returns False if a worker
    died before any had served. Raises RouteFileError and CertificateError."""
    certificate, file = source.load_certificate(), source.load()
    check_pages(settings, file.schemes, file.table.routes)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    routes = len(file.table.routes)
    address, pages = describe_address(listeners.main, scheme=settings.scheme), listeners.addresses_beside
    _log.info("listening", address=address, pages=pages, version=__version__, routes=routes, workers=count)
    children = Children(patience=settings.drain_timeout + PATIENCE)
    with answering(partial(pass_on, children)), children:
        boards = make_board_files(count + 1)
        reporter = Reporter(Board(boards[0]), gauges=source.gauges, counters={})
        workers = Workers(
            children, listeners, pack(file), boards=boards, certificate=certificate, lane=lane, extend=extend
        )
        parent = Parent(notifier, boards[1:], routes=routes)
        while (can_start := workers.check()) and not stop.wait(LOOK_INTERVAL):
            reporter.report()
            parent.tell(have_served=workers.have_served)
            _pass_on_what_is_new(source, workers)
        notifier.tell_stopping()
        listeners.close()
        source.close()
        children.ask_all_to_stop()
    if can_start:
        _log.info("stopped")
    return can_start


def _pass_on_what_is_new(source: FileSource, workers: Workers) -> None:
    if fresh := source.load_if_asked():
        workers.use(fresh)
    if renewed := source.renew_if_asked():
        workers.renew(renewed)
