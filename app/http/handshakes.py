"""Limits for TLS handshakes: during a handshake a connection has no protocol yet that limits it. Waiting for a PROXY
header counts as a handshake too.

Laws:
1. A connection counts as soon as it is open. All connections together, in a handshake or after it, are at most ROOM
   more than the maximum.
2. Only a handshake that waits for its caller makes room, the oldest first; never one that waits for the gateway. Those
   that wait for the gateway leave ROOM places to the others, so that a caller has time to answer.
3. A handshake needs most of its memory once its first bytes have come. So at most MAX_BEGUN may have sent any.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Protocol

HANDSHAKE_TIMEOUT = 10.0  # seconds since the connection was opened, or since its PROXY header
MAX_BEGUN = 512
ROOM = 64


class Shaking(Protocol):
    """A connection before its HTTP protocol begins."""

    opened_at: float

    def abort(self) -> None:
        """Close the connection at once."""


class Handshakes:
    """The connections that are in a handshake."""

    def __init__(self) -> None:
        # Those that wait for their callers, the oldest first.
        self._silent: dict[Shaking, None] = {}
        self._begun: dict[Shaking, None] = {}
        self.waiting: set[Shaking] = set()
        """The connections that wait for the gateway itself."""

    def __len__(self) -> int:
        return len(self._silent) + len(self._begun) + len(self.waiting)

    def open(self, one: Shaking, *, excess: Callable[[], int]) -> None:
        """Note a connection that waits for the first bytes of its caller. `excess` returns how many connections are
        over the limit."""
        self._silent[one] = None
        if excess() > ROOM:
            oldest = [next(iter(kind)) for kind in (self._silent, self._begun) if kind]
            self._end(min(oldest, key=attrgetter("opened_at")))

    def note_waiting(self, one: Shaking) -> None:
        """Note that the connection waits for the gateway itself."""
        self.forget(one)
        self.waiting.add(one)

    def note_begun(self, one: Shaking) -> None:
        """Note that the connection waits for more bytes of its caller."""
        if one in self._begun:
            return
        self.forget(one)
        self._begun[one] = None
        if len(self._begun) > MAX_BEGUN:
            self._end(next(iter(self._begun)))

    def forget(self, one: Shaking) -> None:
        """Forget a connection: its handshake is complete, or it has ended."""
        self._silent.pop(one, None)
        self._begun.pop(one, None)
        self.waiting.discard(one)

    def check(self, now: float) -> None:
        """End the connections whose handshake has taken too long."""
        latest = now - HANDSHAKE_TIMEOUT
        late = [one for one in self._begun if one.opened_at < latest]
        for one in self._silent:
            if one.opened_at >= latest:
                break
            late.append(one)
        for one in late:
            self._end(one)

    def abort_all(self) -> None:
        """Close all connections that are in a handshake."""
        for one in [*self._silent, *self._begun, *self.waiting]:
            self._end(one)

    def _end(self, one: Shaking) -> None:
        self.forget(one)
        one.abort()
