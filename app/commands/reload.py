"""New routes and a new certificate for a running gateway: from their files at SIGHUP or, in a worker process, from its
parent.

Laws:
1. A valid file takes effect between two requests. Requests that have begun finish with the old routes.
2. A file with faults changes nothing. The log has the faults.
3. No request waits for a reload, however large the file is: a separate process reads and checks it, and this process
   makes the routes in short steps. A reload that hangs delays a later one by at most LIMIT, and never the stop.
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
LOOK_INTERVAL = 0.1  # seconds between two checks for a SIGHUP
LIMIT = 120.0  # seconds that a file may take
GRACE = 5.0  # seconds that a killed process may take to end
CHUNK = 1024 * 1024  # bytes

ROUTES, CERTIFICATE = b"routes", b"certificate"
"""The kinds of packages."""
Swap = Callable[[PreparedRoutes], Awaitable[None]]
Renew = Callable[[Certificate], None]

_log = structlog.get_logger("nats-http.reload")


class Reading:
    """Reads and checks a route file in a separate process, `loader.py`, within `limit` seconds."""

    def __init__(self, path: Path, *, limit: float = LIMIT) -> None:
        """Raises OSError if the process can't be started."""
        self._path = path
        self._limit = limit
        self._package = pack_faults([f"{path}: it could not be read"])
        command = make_command(f"{__package__}.loader", str(path))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @property
    def package(self) -> bytes | None:
        """The result. None while the process runs."""
        return None if self._thread.is_alive() else self._package

    def close(self) -> None:
        """Kill the process, without waiting for its end."""
        self._process.kill()

    def _take(self) -> None:
        try:
            written = self._process.communicate(timeout=self._limit)[0]
            output = b"" if self._process.returncode else written
            fault = f"the process that reads it ended with exit code {self._process.returncode}"
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # on some file systems a killed process may hang
                self._process.communicate(timeout=GRACE)
            output, fault = b"", f"it was not read and checked within {self._limit:g} seconds"
        self._package = output or pack_faults([f"{self._path}: {fault}"])


class FileSource:
    """The route file and the certificate, from their files. They are read again at each SIGHUP, and after each `ask`.

    A warning names the limits of the file that are above `limits`. Another warning at the start names its schemes of
    certificates if no client certificate can reach the gateway. `files` are all files of the last reading, even of one
    that failed. `path` is the first of them.
    """

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
        """The Unix time at which the current routes were read."""
        self._hangups = hangups
        self._renewals = Renewals(certificate)
        self._reading: Reading | None = None

    @property
    def gauges(self) -> dict[str, Ask]:
        """Gauges about the file, for metrics."""
        return list_gauges_of_file(is_right=lambda: self.is_right, loaded_at=lambda: self.loaded_at)

    def load(self) -> RouteFile:
        """The route file at the start. Raises RouteFileError."""
        file = load_route_file(self.path)
        self.files = file.files
        _warn_of_lowered(list(islice(find_lowered(file.table, self._limits), MAX_LOWERED)))
        if schemes := find_unproven(file.sources, can_be_shown=self._takes_client_certificates):
            _log.warning("no-client-certificates", schemes=schemes, reason=UNPROVEN)
        return file

    def load_certificate(self) -> Certificate | None:
        """The certificate at the start, if there is one. Raises CertificateError."""
        return self._renewals.load()

    def ask(self) -> None:
        """Ask for another reading, as a SIGHUP does."""
        self._hangups.pending = True

    def load_if_asked(self) -> bytes | None:
        """The package of a file that a SIGHUP asked for, when a separate process has found it valid. Returns at once:
        call this every LOOK_INTERVAL."""
        package = self._poll()
        if package is not None:
            self._log_loaded(package)
        return package

    def renew_if_asked(self) -> Certificate | None:
        """The new certificate, in the same way."""
        return self._renewals.poll()

    async def watch(self, swap: Swap, renew: Renew) -> None:
        """Serve all further packages and certificates. It never returns. If it is cancelled, a running reading ends."""
        try:
            while True:
                await asyncio.sleep(LOOK_INTERVAL)
                if certificate := self.renew_if_asked():
                    renew(certificate)
                if (package := self._poll()) is not None:
                    await _serve_package(package, swap)
                    self._log_loaded(package)
        finally:
            self.close()

    def close(self) -> None:
        """End a running reading."""
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

    def _log_loaded(self, package: bytes) -> None:
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
                        await _serve_package(package, swap)
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


async def serve_and_reload(
    source: FileSource | PipeSource, server: uvicorn.Server, listeners: Listeners, gateway: Gateway
) -> None:
    """Serve until a signal, always with the latest routes and certificate of the source."""
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
