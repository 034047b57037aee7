"""Checks bodies in other processes, so that a long check does not delay other requests.

Laws:
1. Every check ends exactly once, no later than its deadline.
2. At most MAX_PROCESSES processes run. They start when they are first needed. At most MAX_WAITING checks wait for one.
3. A process that is not done at the deadline is killed. After that, or if a process ends by itself, the next check
   starts a new one. No process outlives this one.
4. A caller who leaves cancels its check. If the check waits, it is dropped. If it runs, it runs to its end and its
   result is ignored: killing its process would cost more.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ..errors import Draining, GatewayError, InvalidBody, Overloaded, Timeout
from ..routing.bodies import Check

MAX_PROCESSES = 2
MAX_WAITING = 32

_MAX_ANSWER = 1024 * 1024  # bytes; 20 faults of at most 1,200 characters each have fewer
_MARGIN = 0.5  # seconds from the deadline until a process ends by itself if nobody has killed it

_FOLDER = Path(__file__).parents[2]  # Python finds this package there, whatever the current folder contains

_log = structlog.get_logger("nats-http.checker")

Verdict = GatewayError | None
"""The error of a body, or the reason why it could not be checked; None if it is valid."""


class CheckFailed(Exception):
    """There is a bug in the process that checks. The text contains its traceback."""


@dataclass(frozen=True, slots=True)
class _Job:
    check: Check
    deadline: float


class Checker:
    """Checks bodies. An async context manager: enter it in the event loop that it serves. Leaving it ends the
    processes, and all checks as Draining."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[Verdict], _Job] = {}
        self._running: set[asyncio.Future[Verdict]] = set()
        self._idle: list[_Process] = []
        self._started: set[_Process] = set()  # the processes that have not ended yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        for future in [*self._waiting, *self._running]:
            _settle(future, Draining())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._idle.clear()
        await asyncio.gather(*map(self._end, list(self._started)))  # also a process that a cancelled task was ending

    def submit(self, check: Check, deadline: float) -> "asyncio.Future[Verdict]":
        """Check a body. The result of the future is the error of the body, Overloaded, Timeout or Draining, or None if
        the body is valid. Its exception is CheckFailed. `deadline` is an instant of `time.monotonic`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        if not self._is_open:
            future.set_result(Draining())
            return future
        if len(self._waiting) >= MAX_WAITING:
            future.set_result(Overloaded("The gateway has too many bodies to check."))
            return future
        timer = loop.call_later(deadline - time.monotonic(), _settle, future, _time_out())
        future.add_done_callback(lambda _: timer.cancel())
        future.add_done_callback(self._forget)
        self._waiting[future] = _Job(check, deadline)
        if len(self._tasks) < MAX_PROCESSES:
            self._tasks.add(loop.create_task(self._work()))
        return future

    def _forget(self, future: "asyncio.Future[Verdict]") -> None:
        self._waiting.pop(future, None)

    async def _work(self) -> None:
        """Run the waiting checks, one after the other. When no check waits, this task ends and no longer counts: the
        next check needs a new one."""
        try:
            while self._waiting:
                future, job = next(iter(self._waiting.items()))
                del self._waiting[future]
                self._running.add(future)
                try:
                    await self._run(future, job)
                finally:
                    self._running.discard(future)
        finally:
            if task := asyncio.current_task():
                self._tasks.discard(task)

    async def _run(self, future: "asyncio.Future[Verdict]", job: _Job) -> None:
        process = self._idle.pop() if self._idle else None
        try:
            async with asyncio.timeout(job.deadline - time.monotonic()):
                process = process or await self._start()
                _settle(future, await process.run(job))
            self._idle.append(process)
            process = None
        except TimeoutError:
            _settle(future, _time_out())
        except CheckFailed as error:
            if not future.done():
                future.set_exception(error)
        except (OSError, EOFError) as error:
            _log.warning("checker-ended", reason=type(error).__name__)
            _settle(future, Overloaded("The body could not be checked."))
        finally:
            if process is not None:
                await self._end(process)

    async def _start(self) -> "_Process":
        process = await _Process.start()
        self._started.add(process)
        return process

    async def _end(self, process: "_Process") -> None:
        await process.end()
        self._started.discard(process)


class _Process:
    """A process that runs `process.py`, and a socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> "_Process":
        """Start a process. It inherits only its end of the socket. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_ANSWER)
            except BaseException:
                ours.close()
                raise
            try:
                command = [sys.executable, "-m", f"{__package__}.process"]
                process = _start(command, theirs.fileno())
            except OSError:
                writer.close()
                raise
        return cls(process, reader, writer)

    async def run(self, job: _Job) -> Verdict:
        """Run one check. Raises CheckFailed, and OSError or EOFError if the process has ended."""
        schema, body = job.check.schema, job.check.body
        seconds = max(0.0, job.deadline - time.monotonic()) + _MARGIN
        taken = None if job.check.taken is None else sorted(job.check.taken)
        head = {"schema": schema.text, "taken": taken, "size": len(body), "seconds": seconds}
        self._writer.write(json.dumps(head).encode() + b"\n")
        self._writer.write(body)
        await self._writer.drain()
        line = await self._reader.readline()
        if not line:
            raise EOFError
        return _read_answer(line)

    async def end(self) -> None:
        """Kill the process, whatever it does, and wait until it has freed its memory, which may take a while. If this
        is cancelled, it can be called again."""
        self._process.kill()
        self._writer.close()
        await asyncio.to_thread(self._process.wait)


def _start(command: Sequence[str], end: int) -> subprocess.Popen[bytes]:
    """Start it in this thread, though that takes 2 ms: a process may die with the thread that started it."""
    return subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.DEVNULL, cwd=_FOLDER)


def _read_answer(line: bytes) -> Verdict:
    answer = json.loads(line)
    if answer is None:
        return None
    if isinstance(answer, dict):
        raise CheckFailed(answer["bug"])
    detail, errors = answer
    return InvalidBody(detail, errors=tuple((pointer, fault) for pointer, fault in errors))


def _settle(future: "asyncio.Future[Verdict]", verdict: Verdict) -> None:
    if not future.done():
        future.set_result(verdict)


def _time_out() -> Timeout:
    error = Timeout("The body could not be checked in time, so nothing was sent to the service.")
    error.delivered = "no"
    return error
