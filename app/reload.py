"""New routes for a gateway that serves: from the route file at SIGHUP or, in a worker process, from its parent.

Laws:
1. Routes that hold are taken between two requests, and what has begun finishes by those that it began with.
2. Routes that don't hold change nothing, and the log says what is wrong with them.
3. Reading and checking happens in a thread: nobody waits for it.
"""

import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import structlog
import uvicorn
from fastapi import FastAPI

from app.main import Served, prepare
from app.routefile import RouteFile, RouteFileError, build_route_file, load_route_file

LOOK_INTERVAL = 0.1  # seconds between two looks whether a SIGHUP came
CHUNK = 64 * 1024  # bytes
MAX_LINE = 256 * 1024 * 1024  # bytes of the routes that a worker is handed

_log = structlog.get_logger("nats-http.reload")


class Hangups:
    """SIGHUP, from the moment that this is made, so that none ends the process; they wait to be taken."""

    def __init__(self) -> None:
        # After nohup, and without a terminal, a hangup always means a reload.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_on_terminal()
        self.pending = False
        signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        if self._has_terminal and not _is_on_terminal():
            os.kill(os.getpid(), signal.SIGTERM)  # it was closed
        self.pending = True

    def take(self) -> bool:
        """Whether there was one since the last time."""
        was_pending, self.pending = self.pending, False
        return was_pending


def _is_on_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and os.isatty(sys.stdin.fileno())


class FileSource:
    """The route file, read anew at each SIGHUP."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hangups = Hangups()

    def load(self) -> RouteFile:
        """Raises RouteFileError."""
        return load_route_file(self._path)

    def load_if_asked(self) -> RouteFile | None:
        """What the file says now, where a SIGHUP has asked for it and it holds."""
        if not self._hangups.take():
            return None
        try:
            file = self.load()
        except RouteFileError as error:
            _log.error("routes-refused", problems=error.problems)
            return None
        _log.info("routes-loaded", file=str(self._path), routes=len(file.table.routes))
        return file

    async def watch(self, serve: Callable[[Served], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if self._hangups.pending and (file := await asyncio.to_thread(self.load_if_asked)):
                serve(await asyncio.to_thread(prepare, file))


class PipeSource:
    """What the parent of a worker process writes: a line of JSON, the document of a RouteFile, for each reload."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def load(self) -> RouteFile:
        """Waits for the first line. Raises RouteFileError."""
        chunks: list[bytes] = []
        while not chunks or b"\n" not in chunks[-1]:
            chunk = os.read(self._fd, CHUNK)
            if not chunk:
                raise RouteFileError(["the parent process has gone"])
            chunks.append(chunk)
        line, _, self._rest = b"".join(chunks).partition(b"\n")
        return build_route_file(json.loads(line))

    async def watch(self, serve: Callable[[Served], None]) -> None:
        """Serve the routes of each further line. Never returns."""
        reader = asyncio.StreamReader(limit=MAX_LINE)
        reader.feed_data(self._rest)
        loop = asyncio.get_running_loop()
        with open(self._fd, "rb", buffering=0, closefd=False) as pipe:  # noqa: ASYNC230 - a pipe, which is there
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
            while line := await reader.readline():
                file = await asyncio.to_thread(lambda text: build_route_file(json.loads(text)), line)
                serve(await asyncio.to_thread(prepare, file))
            await asyncio.Event().wait()  # the parent has gone; its guard ends this process


class Feed:
    """The other end of a PipeSource: lines are written in a thread, so that a worker that does not read holds up
    nobody."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._files: queue.SimpleQueue[RouteFile] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, daemon=True).start()

    def send(self, file: RouteFile) -> None:
        self._files.put(file)

    def _write_all(self) -> None:
        with contextlib.suppress(OSError):  # the worker has gone
            while True:
                line = json.dumps(self._files.get().document).encode("ascii") + b"\n"
                while line:
                    line = line[self._pipe.write(line) :]


async def serve_with(
    source: FileSource | PipeSource, server: uvicorn.Server, listener: socket.socket, app: FastAPI
) -> None:
    """Serve until a signal, with the routes that the source has at each moment."""
    watching = asyncio.create_task(source.watch(app.state.serve))
    try:
        await server.serve([listener])
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled() and (error := watching.exception()):
        raise error
