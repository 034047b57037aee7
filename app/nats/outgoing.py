"""Writes the requests of one connection to the server. All requests of one turn of the event loop go out in one write.

Laws:
1. At most MAX_BACKLOG bytes, plus those of one turn, wait at the transport. Further requests are held here, up to
   MOST_HELD bytes, until the server has taken some. So a burst of large bodies is no reason to refuse one of them.
2. If the server takes nothing of such a backlog for PATIENT_LOOKS looks, it is stuck. Then held requests and new ones
   are refused until it takes something. Looks are counted, and not seconds, since a pause of this process is not a
   pause of the server.
3. A held request has not been sent, and can be withdrawn.
4. The `tell` of a request is called once, when the process no longer keeps it: the kernel has it, or it is never sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from .backlog import count_unsent

BIG = 16 * 1024  # bytes of a payload; a smaller one is copied, which is cheaper than a separate write
MAX_BACKLOG = 4 * 1024 * 1024  # bytes that the kernel has not taken yet
MOST_HELD = 64 * 1024 * 1024  # bytes
LOOK_INTERVAL = 0.05  # seconds between two looks at the backlog
PATIENT_LOOKS = 5

_log = structlog.get_logger("nats-http.link")

Tell = Callable[[], None]
_Held = tuple[tuple[bytes, ...], int, Tell | None]


class Outgoing:
    """The outgoing requests of one connection. Replies go to `prefix` and a token. `refused` is called with the token
    of each request that was held, and is never sent because the server is stuck."""

    def __init__(self, prefix: bytes, *, refused: Callable[[bytes], None]) -> None:
        self.is_full = False
        """Whether there was no room for more requests at the last look. `look` looks again."""
        self.written = 0
        """The number of bytes that were handed to the transport."""
        self._prefix = prefix
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._below: asyncio.WriteTransport | None = None
        self._closed = False
        self._queue: list[bytes] = []
        self._queued = 0
        self._unwritten: set[bytes] = set()
        self._is_backed_up = False
        self._held: dict[bytes, _Held] = {}
        self._held_size = 0
        self._awaited: deque[tuple[int, Tell]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._arrived = 0
        self._looks = 0
        """The number of looks since the server last took something."""

    def open(self, transport: asyncio.WriteTransport, below: asyncio.WriteTransport | None) -> None:
        """Write to this transport from now on. With TLS, `below` is the transport under TLS, else None."""
        self._transport, self._below = transport, below

    def publish(self, subject: bytes, token: bytes, headers: bytes, payload: bytes, tell: Tell | None = None) -> None:
        """Send a request whose reply comes back with `token`. `headers` is a header block, or empty. `tell` is called
        once, when the process no longer keeps the request. It may not block."""
        if headers:
            sizes = len(headers), len(headers) + len(payload)
            line = b"HPUB %b %b%b %d %d\r\n%b" % (subject, self._prefix, token, *sizes, headers)
        else:
            line = b"PUB %b %b%b %d\r\n" % (subject, self._prefix, token, len(payload))
        is_big = len(payload) > BIG
        if is_big or tell is not None or self._is_backed_up:
            pieces = (line, payload, b"\r\n") if is_big else (line + payload + b"\r\n",)
            (self._hold if self._is_backed_up else self._send)(token, pieces, tell)
        else:
            self._unwritten.add(token)
            self.write(line + payload + b"\r\n")

    def publish_echoed(
        self, subject: bytes, token: bytes, headers: bytes, payload: bytes, tell: Tell | None = None
    ) -> None:
        """Send a message that nobody replies to, and after it an empty one to the inbox with `token`. The server takes
        messages in their order: when the second one comes back, it has taken the first. Else as `publish`."""
        if headers:
            line = b"HPUB %b %d %d\r\n%b" % (subject, len(headers), len(headers) + len(payload), headers)
        else:
            line = b"PUB %b %d\r\n" % (subject, len(payload))
        pieces = line, payload, b"\r\nPUB %b%b 0\r\n\r\n" % (self._prefix, token)
        (self._hold if self._is_backed_up else self._send)(token, pieces, tell)

    def _send(self, token: bytes, pieces: tuple[bytes, ...], tell: Tell | None) -> None:
        self._unwritten.add(token)
        for piece in pieces:
            self.write(piece)
        if tell is not None:
            self._awaited.append((self.position, tell))

    def write(self, command: bytes) -> None:
        """Send a command that is never held. The order of commands is kept."""
        if not self._queue:
            self._loop.call_soon(self._flush)
        self._queue.append(command)
        self._queued += len(command)
        if self._queued > MAX_BACKLOG:
            self._is_backed_up = True

    def _flush(self) -> None:
        queue, queued = self._queue, self._queued
        self._queue, self._queued = [], 0
        if queue and self._transport is not None and not self._is_closing():  # the connection learns that later
            self._unwritten.clear()
            self.written += queued
            if queued > BIG:
                self._transport.writelines(queue)
            else:
                self._transport.write(b"".join(queue))
            if self._awaited or self._is_backed_up or self._count_buffered() > MAX_BACKLOG:
                self.look()

    def _hold(self, token: bytes, pieces: tuple[bytes, ...], tell: Tell | None) -> None:
        size = sum(map(len, pieces))
        self._held[token] = pieces, size, tell
        self._held_size += size
        self.is_full = self.is_full or self._held_size > MOST_HELD

    def withdraw(self, token: bytes) -> bool:
        """Drop a request that is still held, so that it is never sent. Returns whether it was held."""
        held = self._held.pop(token, None)
        if held is None:
            return False
        self._held_size -= held[1]
        _call(held[2])
        return True

    def look(self) -> bool:
        """Send held requests as far as the server takes them, and call `tell` of those that the kernel has. Sets
        and returns `is_full`: whether there is no room for more."""
        taken = self.written - self._count_buffered()
        while self._awaited and self._awaited[0][0] <= taken:
            _call(self._awaited.popleft()[1])
        while self._held and self.position - taken <= MAX_BACKLOG and not self._is_closing():
            self._release()
        self._is_backed_up = self.position - taken > MAX_BACKLOG
        if not self._is_backed_up or self._arrived != self.written - self.count_waiting():
            self._looks = 0
        self.is_full = self._looks >= PATIENT_LOOKS or self._held_size > MOST_HELD
        if (self._awaited or self._is_backed_up) and self._timer is None and not self._closed:
            self._timer = self._loop.call_later(LOOK_INTERVAL, self._look_again)
        return self.is_full

    def _is_closing(self) -> bool:
        return self._closed or self._transport is None or self._transport.is_closing()

    def _release(self) -> None:
        token = next(iter(self._held))
        pieces, size, tell = self._held.pop(token)
        self._held_size -= size
        self._send(token, pieces, tell)

    def _look_again(self) -> None:
        self._timer = None
        arrived = self.written - self.count_waiting()
        self._looks = self._looks + 1 if arrived == self._arrived else 0
        self._arrived = arrived
        if self.look() and self._looks >= PATIENT_LOOKS:
            for token in list(self._held):
                self.withdraw(token)
                self._refused(token)

    @property
    def position(self) -> int:
        """The number of bytes sent so far: written, or queued for this turn."""
        return self.written + self._queued

    @property
    def unwritten(self) -> frozenset[bytes]:
        """The tokens of the requests that were not handed to the transport yet."""
        return frozenset((*self._unwritten, *self._held))

    def count_waiting(self) -> int:
        """The bytes that the kernel has not taken yet, plus the unacknowledged bytes in its buffer, if it says them."""
        if self._transport is None:
            return 0
        return self._count_buffered() + count_unsent(self._transport.get_extra_info("socket"))

    def _count_buffered(self) -> int:
        buffered = self._transport.get_write_buffer_size() if self._transport else 0
        return buffered + self._below.get_write_buffer_size() if self._below else buffered

    def close(self) -> None:
        """Send nothing more. It does not close the transport: the connection does. Idempotent."""
        self._closed = True
        self._queue = []
        if self._timer is not None:
            self._timer.cancel()
        for token in list(self._held):
            self.withdraw(token)
        while self._awaited:
            _call(self._awaited.popleft()[1])


def _call(tell: Tell | None) -> None:
    if tell is not None:
        try:
            tell()
        except Exception:  # a bug in `tell` must not end the connection
            _log.exception("written-not-taken")
