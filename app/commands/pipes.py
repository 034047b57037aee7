"""The pipe from the parent of worker processes to each of them: it brings new routes and certificates."""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import IO

from ..certificates import Certificate
from ..collector import collector_off, only_young_collections
from ..observe.gauges import Ask
from ..pieces import run_at_once, run_in_pieces
from ..prepared import PreparedRoutes, unpack
from ..routefile.load import RouteFileError

CHUNK = 1024 * 1024  # bytes

ROUTES, CERTIFICATE = b"routes", b"certificate"
"""The kinds of packages."""
Swap = Callable[[PreparedRoutes], Awaitable[None]]
Renew = Callable[[Certificate], None]


async def serve_package(package: bytes, swap: Swap) -> None:
    """Serve the routes of a package from now on."""
    with only_young_collections():
        await swap(await run_in_pieces(unpack(package)))


class PipeSource:
    """Reads the packages that the parent of a worker process writes. Before each package there is a line with its kind
    and its length. A certificate, if there is one, comes before the first routes."""

    gauges: Mapping[str, Ask] = {}
    """Empty: the parent reports about the file."""

    def __init__(self, fd: int, *, has_certificate: bool) -> None:
        self._fd = fd
        self._has_certificate = has_certificate

    def load_certificate(self) -> Certificate | None:
        """Wait for the certificate. Call this before the first `load`. Raises RouteFileError."""
        return Certificate.unpack(self._read_package()) if self._has_certificate else None

    def load(self) -> PreparedRoutes:
        """Wait for the first routes. Raises RouteFileError."""
        package = self._read_package()
        with collector_off():
            return run_at_once(unpack(package))

    def _read_package(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1)
        chunks: list[bytes] = []
        missing = int(line.split()[1])
        while missing:
            chunks.append(self._read(min(missing, CHUNK)))
            missing -= len(chunks[-1])
        return b"".join(chunks)

    def _read(self, size: int) -> bytes:
        chunk = os.read(self._fd, size)
        if not chunk:
            raise RouteFileError(["the parent process has gone"])
        return chunk

    async def watch(self, swap: Swap, renew: Renew) -> None:
        """Serve all further packages and certificates. It never returns."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        with open(self._fd, "rb", buffering=0, closefd=False) as pipe:  # noqa: ASYNC230 - a pipe, which is there
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
            with contextlib.suppress(asyncio.IncompleteReadError):
                while line := await reader.readline():
                    kind, length = line.split()
                    package = await reader.readexactly(int(length))
                    if kind == CERTIFICATE:
                        renew(Certificate.unpack(package))
                    else:
                        await serve_package(package, swap)
            await asyncio.Event().wait()  # the parent has gone, and its guard ends this process


class Feed:
    """The writing end of the pipe to a PipeSource. A thread writes, so nobody waits for a worker that does not read."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._packages: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, daemon=True).start()

    def send(self, kind: bytes, package: bytes) -> None:
        """Queue a package for the worker."""
        self._packages.put((kind, package))

    def _write_all(self) -> None:
        with contextlib.suppress(OSError):  # the worker has gone
            while True:
                kind, package = self._packages.get()
                for part in (b"%b %d\n" % (kind, len(package)), package):
                    rest = memoryview(part)
                    while rest:
                        rest = rest[self._pipe.write(rest) :]
