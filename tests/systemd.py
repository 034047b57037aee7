"""A stand-in for systemd: it hears what a service says about itself, and hands listening sockets over to it."""

import asyncio
import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.harness import PATIENCE, clean_environment
from tests.process.programs import PATIENT, Process

# As systemd: sockets are 3 and up, and the variables are for this process. `exec` keeps its number.
LAUNCH = """
import fcntl, os, sys
separator = sys.argv.index("--")
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1:separator]]
for number, copy in enumerate(copies):
    os.dup2(copy, 3 + number)
    os.close(copy)
os.environ.update(LISTEN_PID=str(os.getpid()), WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[separator + 1], sys.argv[separator + 1 :])
"""


class Ear:
    """The socket for NOTIFY_SOCKET, at a path or at an abstract name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)

    def hear(self) -> list[str]:
        """The lines of the next message."""
        return self.socket.recv(4096).decode().split("\n")

    async def hear_soon(self) -> list[str]:
        """The same, while the event loop runs."""
        return await asyncio.to_thread(self.hear)

    def hear_all(self) -> Iterator[list[str]]:
        """The messages that are there."""
        while self.hears_within(0):
            yield self.hear()

    def hears_within(self, seconds: float) -> bool:
        """Whether a message is there, or comes within so many seconds."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def wait_for(self, line: str) -> list[str]:
        """The next message with this line. Others before it are left out."""
        while line not in (lines := self.hear()):
            pass
        return lines

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def listen_to(address: str) -> Iterator[Ear]:
    """An ear at this address."""
    with contextlib.closing(Ear(address)) as ear:
        yield ear


class Service(Process):
    """A program that systemd starts: with the variables of sd_notify(3) if there is an `ear`, and with those of
    sd_listen_fds(3) if there are sockets, by name."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        ear: Ear | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
    ) -> None:
        self._log = log
        variables = PATIENT | ({"NOTIFY_SOCKET": ear.address} if ear else {})
        fds = [listener.fileno() for listener in (sockets or {}).values()]
        if sockets:
            variables.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(sockets))
        launch = [sys.executable, "-S", "-c", LAUNCH, *map(str, fds), "--", *command]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                launch,
                env=clean_environment(**variables | dict(environment)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=fds,
            )


@contextlib.contextmanager
def run_service(
    command: list[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    ear: Ear | None = None,
    sockets: Mapping[str, socket.socket] | None = None,
) -> Iterator[Service]:
    """A service until the end of the block."""
    service = Service(command, log, environment, ear=ear, sockets=sockets)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
