"""Worker processes that share one listening socket. A worker that dies is replaced.

Laws:
1. If a worker ends before any worker has served, none can start, and the gateway gives up.
2. After that only a signal ends the gateway. A worker that ended starts again after a pause, while the others serve.
   Its pause doubles each time from FIRST_PAUSE to MAX_PAUSE. If it has lived for LONG_LIFE, it is FIRST_PAUSE again.
3. A worker writes one byte to a pipe when it serves. Its end closes the pipe, so its parent never waits for the byte.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from ..certificates import Certificate
from ..http.lane import LaneName
from .listeners import Listeners
from .pipes import CERTIFICATE, ROUTES, Feed
from .processes import Child, Children, make_command
from .worker import Inherited

FIRST_PAUSE = 0.1  # seconds
MAX_PAUSE = 5.0  # seconds
LONG_LIFE = 5.0  # seconds

_log = structlog.get_logger("nats-http.serve")


@dataclass(slots=True)
class _Process:
    """A worker process that runs, or whose end has not been noticed yet."""

    child: Child
    feed: Feed
    signs: int
    """The reading end of the pipe for the byte."""
    born: float
    """The instant of its start."""


@dataclass(slots=True)
class _Worker:
    name: str
    board: int
    """The memory to which it reports."""
    process: _Process | None = None
    pause: float = 0.0
    """The seconds that its last start waited."""
    due: float = 0.0
    """The instant of its next start, if it has no process."""


class Workers:
    """Worker processes among `children`, on these listening sockets.

    The first of `boards` is the memory to which this process reports. Each of the others belongs to a worker, and to
    the processes that replace it. All workers use the routes and the certificate that this process has read, even if a
    worker starts later while the files have faults.
    """

    def __init__(
        self,
        children: Children,
        listeners: Listeners,
        package: bytes,
        *,
        boards: Sequence[int],
        certificate: Certificate | None,
        lane: LaneName | None,
        extend: str | None,
    ) -> None:
        self._children = children
        self._listeners = listeners
        self._boards = boards
        self._package = package
        self._certificate = certificate
        self._lane, self._extend = lane, extend
        self._workers = [_Worker(f"worker {number}", board) for number, board in enumerate(boards[1:], 1)]
        self.have_served = False
        """Whether a worker has served."""

    def use(self, package: bytes) -> None:
        """Use these routes in all workers, including later ones."""
        self._package = package
        self._send(ROUTES, package)

    def renew(self, certificate: Certificate) -> None:
        """Use this certificate in all workers, including later ones."""
        self._certificate = certificate
        self._send(CERTIFICATE, certificate.pack())

    def _send(self, kind: bytes, package: bytes) -> None:
        for worker in self._workers:
            if worker.process:
                worker.process.feed.send(kind, package)

    def check(self) -> bool:
        """Start the workers that are due, and note those that ended. Returns False if no worker can start: then give
        up."""
        self._look_for_signs()
        for worker in self._workers:
            if worker.process and worker.process.child.process.poll() is not None:
                self._look_for_signs()  # the byte may have come before its end
                self._bury(worker, worker.process)
                if not self.have_served:
                    return False
            if worker.process is None and worker.due <= time.monotonic() and not self._try_to_start(worker):
                return False
        return True

    def _look_for_signs(self) -> None:
        running = (worker.process for worker in self._workers if worker.process)
        self.have_served = self.have_served or any(_read_sign(process) for process in running)

    def _bury(self, worker: _Worker, process: _Process) -> None:
        _postpone(worker, life=time.monotonic() - process.born)
        code = process.child.process.returncode
        _log.error("worker-ended", worker=worker.name, exit_code=code, next_start_in=worker.pause)
        worker.process = None
        self._children.forget(process.child)
        os.close(process.signs)
        # Nobody reads this. The error ends the thread of the feed, and so its pipe.
        process.feed.send(ROUTES, self._package)

    def _try_to_start(self, worker: _Worker) -> bool:
        """Start a worker. Returns False if the system can't start the process and no worker has served before."""
        try:
            worker.process = self._start(worker)
        except OSError as error:
            _postpone(worker, life=0.0)
            _log.error("worker-not-started", worker=worker.name, reason=str(error), next_start_in=worker.pause)
            return self.have_served
        return True

    def _start(self, worker: _Worker) -> _Process:
        signs, sign = os.pipe()
        main, *beside = (listener.fileno() for listener in self._listeners.all)
        boards = [worker.board, *(board for board in self._boards if board != worker.board)]
        inherited = Inherited(
            listener=main,
            beside=beside,
            given=list(self._listeners.given),
            boards=boards,
            sign=sign,
            lane=self._lane,
            extend=self._extend,
        )
        command = make_command(f"{__package__}.worker", inherited.encode())
        try:
            fds = inherited.descriptors
            child = self._children.start(worker.name, command, pass_fds=fds, stdin=subprocess.PIPE)
        except OSError:
            os.close(signs)
            raise
        finally:
            os.close(sign)
        os.set_blocking(signs, False)
        assert child.process.stdin is not None  # noqa: S101 - it was asked for
        feed = Feed(child.process.stdin)
        if self._certificate:
            feed.send(CERTIFICATE, self._certificate.pack())
        feed.send(ROUTES, self._package)
        return _Process(child, feed, signs, time.monotonic())


def _postpone(worker: _Worker, *, life: float) -> None:
    is_first = worker.pause == 0.0 or life >= LONG_LIFE
    worker.pause = FIRST_PAUSE if is_first else min(2 * worker.pause, MAX_PAUSE)
    worker.due = time.monotonic() + worker.pause


def _read_sign(process: _Process) -> bool:
    with contextlib.suppress(BlockingIOError):
        return os.read(process.signs, 1) != b""
    return False
