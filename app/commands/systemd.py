"""What systemd learns from the gateway, if the unit has `Type=notify`: sd_notify(3).

Laws:
1. Only the process that systemd has started tells it anything. The variables are taken out of the environment, so that
   no child process sees them.
2. The gateway serves without systemd too. If messages can't be sent, the log has one warning, and nothing else changes.
3. A message delays the event loop by at most SEND_LIMIT.
4. WATCHDOG=1 comes from the event loop, so systemd notices if it is frozen. The parent of workers sends it while the
   event loop of at least one worker runs.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence

import structlog

from ..observe.board import Board
from ..settings import take_variables

SEND_LIMIT = 0.1  # seconds that systemd may take to make room for a message
LOOK_INTERVAL = 0.01  # seconds between two looks whether the gateway serves

_log = structlog.get_logger("nats-http.systemd")


class Notifier:
    """Tells systemd about this process. Without `address`, a path or `@` and an abstract name, it does nothing.
    `watchdog` is how many seconds the process may be silent."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = address
        self.interval = watchdog / 2 if address and watchdog else None
        """The seconds between two beats. None if systemd waits for none."""
        self._next_beat = 0.0
        self._has_failed = False

    @classmethod
    def take(cls) -> "Notifier":
        """By the variables that systemd has set for this process. Removes them from the environment."""
        found = take_variables("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        pid = str(os.getpid())
        is_ours = found.get("WATCHDOG_PID", pid) == pid
        micros = found.get("WATCHDOG_USEC", "") if is_ours else ""
        return cls(found.get("NOTIFY_SOCKET", ""), int(micros) / 1e6 if micros.isdecimal() else None)

    def tell(self, *lines: str) -> None:
        """Send these lines in one message."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(SEND_LIMIT)
                channel.sendto("\n".join(lines).encode(), _find_address(self._address))
        except (OSError, ValueError) as error:
            if not self._has_failed:
                _log.warning("systemd-not-told", notify_socket=self._address, reason=str(error))
            self._has_failed = True

    def tell_ready(self, routes: int) -> None:
        """The gateway serves, for the first time."""
        self.tell("READY=1", describe(routes))

    def tell_reloading(self) -> None:
        """A reload begins. READY=1 must follow."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tell_stopping(self) -> None:
        """The gateway answers its last requests."""
        self.tell("STOPPING=1", "STATUS=Answering the last requests")

    def beat_if_due(self) -> None:
        """Say that the gateway is alive, if `interval` has passed since the last time."""
        if self.interval is not None and time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self.interval
            self.tell("WATCHDOG=1")


def describe(routes: int) -> str:
    """The line of a gateway that serves this number of routes, for `systemctl status`."""
    return f"STATUS=Serving {routes} route{'' if routes == 1 else 's'}"


def _find_address(text: str) -> str:
    """The address for `sendto`. Raises ValueError."""
    if text.startswith("@"):
        return f"\0{text[1:]}"
    if text.startswith("/"):
        return text
    raise ValueError("NOTIFY_SOCKET must begin with / or @")


async def tell_life(notifier: Notifier, serves: Callable[[], bool], drain: asyncio.Event, *, routes: int) -> None:
    """Tell systemd when this event loop begins to serve, that it is alive, and when it stops. Returns when it stops."""
    while not serves():
        await asyncio.sleep(LOOK_INTERVAL)
    notifier.tell_ready(routes)
    while not await _is_set_within(notifier.interval, drain):
        notifier.tell("WATCHDOG=1")
    notifier.tell_stopping()


async def _is_set_within(seconds: float | None, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


class Parent:
    """Tells systemd about workers, which report to these `boards`. It tells nothing before the first of them has
    served."""

    def __init__(self, notifier: Notifier, boards: Sequence[int], *, routes: int) -> None:
        self._notifier = notifier
        self._boards = [Board(fd) for fd in boards] if notifier.interval else []
        self._routes = routes
        self._is_ready = False

    def tell(self, *, have_served: bool) -> None:
        """Tell what has changed. `have_served`: whether a worker has served. Call this every tenth of a second."""
        if have_served and not self._is_ready:
            self._is_ready = True
            self._notifier.tell_ready(self._routes)
        if self._is_ready and any(board.pid is not None for board in self._boards):
            self._notifier.beat_if_due()
