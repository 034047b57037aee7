"""New routes, and a new certificate, for a gateway that serves: from their files at SIGHUP or, in a worker process,
from its parent.

Laws:
1. A valid file takes effect between two requests, and what has begun finishes by the routes that it began with.
2. A file that is not valid changes nothing, and the log says what is wrong with it.
3. Nobody waits for a reload, however large the file is: a process of its own reads and checks it, and this one makes
   its routes in short steps. Nor does a reload that hangs hold up a later one for longer than LIMIT, or the stop.
"""

import asyncio
import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import structlog
import uvicorn

from ..certificates import Certificate, CertificateFiles
from ..collector import collector_off, only_young_collections
from ..exchange.plans import Limits, find_lowered
from ..gateway import Gateway
from ..http.server import serving_beside
from ..observe.gauges import Ask
from ..pages.monitor import list_gauges_of_file
from ..pieces import run_at_once, run_in_pieces
from ..prepared import MAX_LOWERED, PreparedRoutes, pack_faults, read_head, unpack
from ..routefile.advice import UNPROVEN, find_unproven
from ..routefile.load import RouteFile, RouteFileError, load_route_file
from .hangups import Hangups
from .listeners import Listeners
from .processes import make_command
from .renewal import Renewals

MAX_LISTED = 100  # faults in one line of the log
LOOK_INTERVAL = 0.1  # seconds between two looks whether a SIGHUP came
LIMIT = 120.0  # seconds that a file may take
GRACE = 5.0  # seconds that a process which was killed may take to end
CHUNK = 1024 * 1024  # bytes

ROUTES, CERTIFICATE = b"routes", b"certificate"
"""The kinds of packages."""
Swap = Callable[[PreparedRoutes], Awaitable[None]]
Renew = Callable[[Certificate], None]

_log = structlog.get_logger("nats-http.reload")


class Reading:
    """A process that reads and checks a route file, `loader.py`. It has `limit` seconds."""

    def __init__(self, path: Path, *, limit: float = LIMIT) -> None:
        """Raises OSError where no process can be started."""
        self._path = path
        self._limit = limit
        self._package = pack_faults([f"{path}: it could not be read"])
        command = make_command(f"{__package__}.loader", str(path))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @property
    def package(self) -> bytes | None:
        """The result of the reading, or None while it runs."""
        return None if self._thread.is_alive() else self._package

    def close(self) -> None:
        """End it. Does not wait."""
        self._process.kill()

    def _take(self) -> None:
        try:
            written = self._process.communicate(timeout=self._limit)[0]
            output = b"" if self._process.returncode else written
            fault = f"the process that reads it ended with exit code {self._process.returncode}"
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # not even this ends one on some file systems
                self._process.communicate(timeout=GRACE)
            output, fault = b"", f"it was not read and checked within {self._limit:g} seconds"
        self._package = output or pack_faults([f"{self._path}: {fault}"])


class FileSource:
    """The route file, read again at each SIGHUP of `hangups`, and when it is asked. A warning tells which of its limits
    are over `limits`, and at the start one tells which of its schemes take certificates of callers, unless those can
    reach the gateway. `files` are all that it was last read from, right or wrong; `path` is the first. The files of the
    certificate are read again at the same time."""

    def __init__(
        self,
        path: Path,
        limits: Limits,
        certificate: CertificateFiles | None = None,
        *,
        takes_client_certificates: bool = True,
        hangups: Hangups,
    ) -> None:
        self.path = path
        self._limits = limits
        self._takes_client_certificates = takes_client_certificates
        self.files: Sequence[Path] = (path,)
        self.is_right = True
        """Whether the last reading was successful."""
        self.loaded_at = time.time()
        """When the routes that are served were read, as Unix time."""
        self._hangups = hangups
        self._renewals = Renewals(certificate)
        self._reading: Reading | None = None

    @property
    def gauges(self) -> dict[str, Ask]:
        """Gauges about the file, for metrics."""
        return list_gauges_of_file(is_right=lambda: self.is_right, loaded_at=lambda: self.loaded_at)

    def load(self) -> RouteFile:
        """Raises RouteFileError."""
        file = load_route_file(self.path)
        self.files = file.files
        _warn_of_lowered(list(islice(find_lowered(file.table, self._limits), MAX_LOWERED)))
        if schemes := find_unproven(file.sources, can_be_shown=self._takes_client_certificates):
            _log.warning("no-client-certificates", schemes=schemes, reason=UNPROVEN)
        return file

    def load_certificate(self) -> Certificate | None:
        """Raises CertificateError."""
        return self._renewals.load()

    def ask(self) -> None:
        """Have it read again, as a SIGHUP does."""
        self._hangups.pending = True

    def load_if_asked(self) -> bytes | None:
        """The package of the file, once a SIGHUP has asked for it and a process of its own has found it right. Does not
        wait: ask every LOOK_INTERVAL."""
        package = self._poll()
        if package is not None:
            self._tell(package)
        return package

    def renew_if_asked(self) -> Certificate | None:
        """The certificate, in the same manner."""
        return self._renewals.poll()

    async def watch(self, swap: Swap, renew: Renew) -> None:
        """Serve the routes of each further package, and show each further certificate. Never returns; a reading ends
        with it."""
        try:
            while True:
                await asyncio.sleep(LOOK_INTERVAL)
                if certificate := self.renew_if_asked():
                    renew(certificate)
                if (package := self._poll()) is not None:
                    await _serve_package(package, swap)
                    self._tell(package)
        finally:
            self.close()

    def close(self) -> None:
        """End a reading that is under way."""
        if self._reading:
            self._reading.close()

    def _poll(self) -> bytes | None:
        try:
            if self._reading is None and self._hangups.take():
                self._renewals.ask()
                self._reading = Reading(self.path)
            package = self._reading.package if self._reading else None
            if package is None:
                return None
            self._reading = None
            self.files = [Path(name) for name in read_head(package).files]
        except RouteFileError as error:
            self.files = error.files or self.files
            self.is_right = False
            more = len(error.faults) - MAX_LISTED
            rest = (f"and {more} more; `nats-http check` lists all",) if more > 0 else ()
            _log.error("routes-refused", faults=(*error.faults[:MAX_LISTED], *rest))
            return None
        except (OSError, ValueError) as error:
            self.is_right = False
            _log.error("routes-refused", faults=(f"{self.path}: no process could be started to read it: {error}",))
            return None
        self.is_right, self.loaded_at = True, time.time()
        return package

    def _tell(self, package: bytes) -> None:
        head = read_head(package)
        _log.info("routes-loaded", file=str(self.path), routes=head.routes)
        _warn_of_lowered(head.lowered)


def _warn_of_lowered(lowered: Sequence[str]) -> None:
    if lowered:
        _log.warning("limits-lowered", limits=lowered)


async def _serve_package(package: bytes, swap: Swap) -> None:
    with only_young_collections():
        await swap(await run_in_pieces(unpack(package)))


class PipeSource:
    """What the parent of a worker process writes: for each reload a line with a kind and the length of a package, and
    the package. If the gateway has a certificate, it comes before the first routes."""

    gauges: Mapping[str, Ask] = {}
    """The parent reports of the file."""

    def __init__(self, fd: int, *, has_certificate: bool) -> None:
        self._fd = fd
        self._has_certificate = has_certificate

    def load_certificate(self) -> Certificate | None:
        """Waits for it, before the first `load`. Raises RouteFileError."""
        return Certificate.unpack(self._read_package()) if self._has_certificate else None

    def load(self) -> PreparedRoutes:
        """Waits for the first package. Raises RouteFileError."""
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
        """Serve the routes of each further package, and show each further certificate. Never returns."""
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
                        await _serve_package(package, swap)
            await asyncio.Event().wait()  # the parent has gone; its guard ends this process


class Feed:
    """The other end of a PipeSource. A thread writes, so that a worker that does not read holds up nobody."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._packages: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, daemon=True).start()

    def send(self, kind: bytes, package: bytes) -> None:
        self._packages.put((kind, package))

    def _write_all(self) -> None:
        with contextlib.suppress(OSError):  # the worker has gone
            while True:
                kind, package = self._packages.get()
                for part in (b"%b %d\n" % (kind, len(package)), package):
                    rest = memoryview(part)
                    while rest:
                        rest = rest[self._pipe.write(rest) :]


async def serve_and_reload(
    source: FileSource | PipeSource, server: uvicorn.Server, listeners: Listeners, gateway: Gateway
) -> None:
    """Serve until a signal, with the routes and the certificate that the source has at each moment."""
    gateway.monitor.gauges.update(source.gauges)
    watching = asyncio.create_task(source.watch(gateway.serving.swap, gateway.renew_certificate))
    beside = [(gateway.make_server_beside(address), listener) for address, listener in listeners.beside.items()]
    try:
        async with serving_beside(beside):
            await server.serve([listeners.main])
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled() and (error := watching.exception()):
        raise error
