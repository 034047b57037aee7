"""Limits for all connections of one server together: their number, their bytes in this process, their time in the loop.

Laws:
1. Bytes that a caller sends or leaves unread count in a pot. No pot takes more than its limit, however many connections
   a caller opens.
2. A connection whose bytes do not fit is refused, waits with reading paused, or makes room. One kind of bytes never
   takes the room of another kind.
3. Expensive reading, such as a body of one-byte chunks, takes at most a few milliseconds of a turn of the loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..formats.fields import Pair, encode_fields
from .handshakes import Handshakes
from .uploads import Uploads

TURN = 0.002  # seconds that expensive reading may take in one turn of the loop, for all connections together


class Connection(Protocol):
    """The interface of a connection for the bounds."""

    seen_at: float

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""

    @property
    def is_answered(self) -> bool:
        """Whether the caller has its answer, but still sends the body of the request."""

    def check(self, now: float) -> None:
        """End the connection if nothing moved for too long."""

    def leave(self) -> None:
        """Make room for another connection."""

    def cut_off(self) -> None:
        """Abort the connection."""


class Pot:
    """A limit for the bytes that may be in this process at once for one purpose."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Count `size` more bytes if they fit. Returns whether they do."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Count `size` bytes less."""
        self.used -= size


class Unread:
    """Counts the bytes of responses that callers have not read. Over the limit, the caller that has left bytes unread
    for longest is cut off, and then the next one, until the others fit."""

    def __init__(self, limit: int) -> None:
        self._pot = Pot(limit)
        self._held: dict[Connection, int] = {}

    def note(self, connection: Connection, size: int) -> None:
        """Note that `size` bytes wait for this caller to read them. 0 means that it has read everything."""
        self._pot.used += size - self._held.get(connection, 0)
        if size:
            self._held[connection] = size
        else:
            self._held.pop(connection, None)
        while self._pot.used > self._pot.limit:
            oldest = next(iter(self._held))
            self.note(oldest, 0)
            oldest.cut_off()


class Turns:
    """Shares each turn of the loop among connections whose bytes are expensive to read. If the time of a turn is used
    up, a connection waits for a later turn: first come, first served."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    @property
    def is_used_up(self) -> bool:
        """Whether the time of this turn is used up."""
        return self._spent >= TURN

    def spend(self, seconds: float) -> None:
        """Count the time that a piece has cost."""
        self._spent += seconds
        self._call_next()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call this function in a later turn."""
        self._waiting.append(go_on)
        self._call_next()

    def _call_next(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._spent, self._is_due = 0.0, False
        for _ in range(len(self._waiting)):
            if self.is_used_up:
                break
            self._waiting.popleft()()
        if self._waiting:
            self._call_next()


class Bounds:
    """At most `maximum` connections, each with `body_timeout` seconds for a request body to arrive. `max_buffered`
    bytes, each, for bodies on their way in, for what waits to be read, and for what callers leave unread."""

    def __init__(self, *, maximum: int, body_timeout: float, max_buffered: int) -> None:
        self.maximum = maximum
        self.body_timeout = body_timeout
        self.uploads = Uploads(max_buffered)
        self.unparsed = Pot(max_buffered)
        """Heads that come in pieces, requests behind one in flight, beginnings of bodies that wait for memory."""
        self.unread = Unread(max_buffered)
        self.turns = Turns()
        self.handshakes = Handshakes()
        self.connections: int | None = None
        """The number of connections at the last `check`; None before the first one."""
        self._round: list[Connection] = []
        self._part = 0
        self._next_look = 0.0
        self._idle: list[Connection] = []
        self._answered: list[Connection] = []
        self._found_idle: list[Connection] = []
        self._found_answered: list[Connection] = []
        self._default_headers: list[Pair] = []
        self._beginnings: dict[int, bytes] = {}
        """By status: what a response begins with in this second."""

    def check(self, connections: Collection[Connection], *, parts: int) -> None:
        """Check the next part of all connections, and end those without progress for too long. `parts` calls check all
        of them: to check thousands at once would delay every request."""
        now = time.monotonic()
        self.connections = len(connections) + len(self.handshakes)
        self.uploads.check(now)
        self.handshakes.check(now)
        if not self._round:
            self._round = list(connections)
            self._part = -(-len(self._round) // parts)
        part, self._round = self._round[: self._part], self._round[self._part :]
        for connection in part:
            connection.check(now)
            if connection.is_idle:
                self._found_idle.append(connection)
            elif connection.is_answered:
                self._found_answered.append(connection)
        if not self._round:
            self._end_round()

    def _end_round(self) -> None:
        """Sort the connections that can make room. The one without progress for longest comes last."""
        for found in (self._found_idle, self._found_answered):
            found.sort(key=attrgetter("seen_at"), reverse=True)
        self._idle, self._answered = self._found_idle, self._found_answered
        self._found_idle, self._found_answered = [], []

    def make_room(self, connections: Iterable[Connection]) -> bool:
        """Close the connection that has been idle for longest, else one that still sends after its answer. They are
        known from the last check of all connections. Returns False if there is no such connection."""
        return self._pop_and_close() or (self._look_at_all(connections) and self._pop_and_close())

    def _pop_and_close(self) -> bool:
        while self._idle:
            if (connection := self._idle.pop()).is_idle:
                connection.leave()
                return True
        while self._answered:
            if (connection := self._answered.pop()).is_answered:
                connection.leave()
                return True
        return False

    def _look_at_all(self, connections: Iterable[Connection]) -> bool:
        """Check all connections now, and return True. That takes milliseconds for ten thousand of them, so it may use
        at most a tenth of the time; beyond that it returns False."""
        began = time.monotonic()
        if began < self._next_look:
            return False
        everybody = list(connections)
        self._found_idle = [connection for connection in everybody if connection.is_idle]
        self._found_answered = [connection for connection in everybody if connection.is_answered]
        self._end_round()
        ended = time.monotonic()
        self._next_look = ended + 10 * (ended - began)
        return True

    def begin_response(self, status: int, headers: list[Pair]) -> bytes:
        """The beginning of a response: its status line and the fields that uvicorn adds to all. uvicorn makes a new
        list of them each second, for `date`."""
        if headers is not self._default_headers:
            self._default_headers = headers
            self._beginnings.clear()
        beginning = self._beginnings.get(status)
        if beginning is None:
            beginning = self._beginnings[status] = STATUS_LINE[status] + encode_fields(headers)
        return beginning
