"""The parent of worker processes: `nats-http serve --workers`. It has the listening sockets and reads the files, but
serves no request."""

import signal
import threading
from functools import partial

import structlog

from .. import __version__
from ..http.lane import LaneName
from ..http.sockets import describe_address
from ..observe.board import Board, make_board_files
from ..observe.gauges import Reporter
from ..prepared import pack
from ..routefile.pages import check_pages
from ..settings import Settings
from .listeners import Listeners
from .processes import Children
from .reload import FileSource
from .snapshot import pass_on
from .snapshot_signal import answering
from .systemd import Notifier, Parent
from .workers import Workers

PATIENCE = 5.0  # seconds that a worker may take after its drain timeout
LOOK_INTERVAL = 0.1  # seconds between two checks of the workers

_log = structlog.get_logger("nats-http.serve")


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
