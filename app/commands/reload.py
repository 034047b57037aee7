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
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import structlog

from ..certificates import Certificate, CertificateFiles
from ..discovery.infos import unpack_services
from ..exchange.plans import Limits, find_lowered
from ..formats.clusters import MAIN
from ..gateway import Gateway
from ..http.server import GatewayServer, serving_beside
from ..observe.gauges import Ask
from ..pages.monitor import list_gauges_of_file
from ..prepared import MAX_LOWERED, pack_faults, read_head
from ..routefile.advice import UNPROVEN, find_unproven
from ..routefile.discover import DiscoverModel
from ..routefile.load import RouteFile, RouteFileError, load_route_file
from .discovery import Discovery, Names
from .hangups import Hangups
from .listeners import Listeners
from .pipes import PipeSource, Renew, Swap, serve_package
from .processes import make_command
from .remarks import RemarkLog
from .renewal import Renewals
from .snapshot import Snapshots
from .snapshot_signal import answering
from .systemd import Notifier, describe

MAX_LISTED = 100  # faults in one line of the log
LOOK_INTERVAL = 0.1  # seconds between two checks for a SIGHUP
FIRST = 3.0  # seconds that the start waits for services
LIMIT = 120.0  # seconds that a file may take
GRACE = 5.0  # seconds that a killed process may take to end

_log = structlog.get_logger("nats-http.reload")


class Reading:
    """Reads and checks a route file in a separate process, `loader.py`, within `limit` seconds."""

    def __init__(self, path: Path, services: bytes = b"", *, limit: float = LIMIT) -> None:
        """`services` are those that were found on NATS. Raises OSError if the process can't be started."""
        self._path = path
        self._limit = limit
        self._package = pack_faults([f"{path}: it could not be read"])
        command = make_command(f"{__package__}.loader", str(path))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        self._services = services
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
            written = self._process.communicate(self._services, timeout=self._limit)[0]
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
        notifier: Notifier | None = None,
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
        self._notifier = notifier or Notifier()
        self._is_reloading = False
        """Whether a SIGHUP is being answered."""
        self._renewals = Renewals(certificate)
        self._reading: Reading | None = None
        self._discovery = Discovery()
        self._remarks = RemarkLog()

    @property
    def all_files(self) -> Sequence[Path]:
        """The files of the last reading, and those of the certificate."""
        return (*self.files, *self._renewals.files)

    @property
    def gauges(self) -> dict[str, Ask]:
        """Gauges about the file, for metrics."""
        return list_gauges_of_file(is_right=lambda: self.is_right, loaded_at=lambda: self.loaded_at)

    def load(self) -> RouteFile:
        """The route file at the start. Raises RouteFileError."""
        file = load_route_file(self.path)
        self._discovery.use(_name_services(file.discover))
        if self._discovery.wait(FIRST):
            file = load_route_file(self.path, *unpack_services(self._discovery.packed))
            self._discovery.take()
        self.files = file.files
        self._remarks.log(file.remarks)
        _warn_of_lowered(list(islice(find_lowered(file.table, self._limits), MAX_LOWERED)))
        if schemes := find_unproven(file.sources, can_be_shown=self._takes_client_certificates):
            _log.warning("no-client-certificates", schemes=schemes, reason=UNPROVEN)
        return file

    def discover_at(self, variables: Mapping[str, str]) -> None:
        """Look for services at the NATS servers that these variables name. Without this call there are none."""
        self._discovery.begin(variables)

    def load_certificate(self) -> Certificate | None:
        """The certificate at the start, if there is one. Raises CertificateError."""
        return self._renewals.load()

    def ask(self) -> None:
        """Ask for another reading, as a SIGHUP does."""
        self._hangups.pending = True

    def load_if_asked(self) -> bytes | None:
        """The package of a file that a SIGHUP asked for, when a separate process has found it valid. Returns at once:
        call this every LOOK_INTERVAL."""
        self._tell_if_over()
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
                    await serve_package(package, swap)
                    self._log_loaded(package)
                self._tell_if_over()
        finally:
            self.close()

    def close(self) -> None:
        """End a running reading, and the watching of services."""
        if self._reading:
            self._reading.close()
        self._discovery.close()

    def _poll(self) -> bytes | None:
        try:
            if self._reading is None and self._is_asked():
                self._reading = Reading(self.path, self._discovery.packed)
            package = self._reading.package if self._reading else None
            if package is None:
                return None
            self._reading = None
            head = read_head(package)
            self.files = [Path(name) for name in head.files]
            self._discovery.use(Names(*head.discover) if head.discover else None)
        except RouteFileError as error:
            self.files = error.files or self.files
            more = len(error.faults) - MAX_LISTED
            rest = (f"and {more} more; `nats-http check` lists all",) if more > 0 else ()
            self._refuse(*error.faults[:MAX_LISTED], *rest)
            return None
        except (OSError, ValueError) as error:
            self._refuse(f"{self.path}: no process could be started to read it: {error}")
            return None
        self.is_right, self.loaded_at = True, time.time()
        return package

    def _refuse(self, *faults: str) -> None:
        self.is_right = False
        _log.error("routes-refused", faults=faults)
        self._notifier.tell("STATUS=Serving the old routes: the new ones have faults, see the log")

    def _tell_if_over(self) -> None:
        """Tell systemd that a reload is over."""
        if self._is_reloading and self._reading is None and self._renewals.is_idle:
            self._is_reloading = False
            self._notifier.tell("READY=1")

    def _is_asked(self) -> bool:
        """Whether the file is to be read again: at a SIGHUP, or when the services have changed."""
        is_fresh = self._discovery.take()
        if self._hangups.take():
            self._is_reloading = True
            self._notifier.tell_reloading()
            self._renewals.ask()
            return True
        return is_fresh

    def _log_loaded(self, package: bytes) -> None:
        head = read_head(package)
        self._remarks.log(head.remarks)
        _log.info("routes-loaded", file=str(self.path), routes=head.routes)
        self._notifier.tell(describe(head.routes))
        _warn_of_lowered(head.lowered)


def _name_services(rules: DiscoverModel | None) -> Names | None:
    return Names(rules.services, rules.forget_after, rules.nats or MAIN) if rules else None


def _warn_of_lowered(lowered: Sequence[str]) -> None:
    if lowered:
        _log.warning("limits-lowered", limits=lowered)


async def serve_and_reload(
    source: FileSource | PipeSource, server: GatewayServer, listeners: Listeners, gateway: Gateway
) -> None:
    """Serve until a signal, always with the latest routes and certificate of the source. At each SIGUSR1 the log says
    what this process does."""
    gateway.monitor.gauges.update(source.gauges)
    watching = asyncio.create_task(source.watch(gateway.serving.swap, gateway.renew_certificate))
    beside = [(gateway.make_server_beside(address), listener) for address, listener in listeners.beside.items()]
    try:
        with answering(Snapshots(gateway, server).take):
            async with serving_beside(beside):
                await server.serve([listeners.main])
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled() and (error := watching.exception()):
        raise error
