"""The services that the gateway has found, from the process that watches them."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from .processes import make_command

RESTART = 2.0  # seconds until a process that has ended is started again
BURST = 5  # changes that are taken at once
EVERY = 5.0  # seconds for each further one: services that come and go all the time cost little

_log = structlog.get_logger("nats-http.discovery")


@dataclass(frozen=True, slots=True)
class Names:
    """The services that are watched, the seconds of silence after which one is forgotten, and their NATS cluster."""

    services: Sequence[str]
    forget_after: float
    nats: str


class Pace:
    """Allows `burst` events at once, and then one every so many seconds. `clock` returns seconds."""

    def __init__(self, burst: int, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._every = every
        self._clock = clock
        self._left = float(burst)
        self._seen = clock()

    def allows(self) -> bool:
        """Whether there may be an event now, which then counts."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) / self._every)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Discovery:
    """Watches services in a process, which is started again if it ends. `close` ends it. No method blocks but
    `wait`."""

    def __init__(self) -> None:
        self._pace = Pace(BURST, EVERY)
        self._names: Names | None = None
        self._variables: Mapping[str, str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = threading.Event()
        self._started_at = 0.0
        self.packed = b""
        """All services that were found last, for `unpack_services`; empty before the first."""

    def begin(self, variables: Mapping[str, str]) -> None:
        """Allow the watching. `variables` say in the environment of the process where NATS is."""
        self._variables = variables

    def use(self, names: Names | None) -> None:
        """Watch these services from now on."""
        if names != self._names:
            self._stop()
            self._names, self.packed, self._started_at = names, b"", 0.0
            self._keep_alive()

    def take(self) -> bool:
        """Whether the services have changed since the last time that this was true. If they change all the time, it is
        true only every few seconds."""
        self._keep_alive()
        if not self._fresh.is_set() or not self._pace.allows():
            return False
        self._fresh.clear()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the first services, at most so long. Returns whether there are some."""
        return self._process is not None and self._fresh.wait(seconds)

    def close(self) -> None:
        """Stop watching."""
        self._stop()
        self._names = None

    def _keep_alive(self) -> None:
        if self._names is None or self._variables is None:
            return
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is None and time.monotonic() - self._started_at > RESTART:
            self._started_at = time.monotonic()
            self._start(self._names, self._variables)

    def _start(self, names: Names, variables: Mapping[str, str]) -> None:
        command = make_command(f"{__package__}.discoverer", f"{names.forget_after:g}", names.nats, *names.services)
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
        except OSError as error:
            _log.error("discovery-failed", reason=str(error))
            return
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the pipe was closed
            for line in process.stdout or ():
                if process is self._process:
                    self.packed = line
                    self._fresh.set()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
