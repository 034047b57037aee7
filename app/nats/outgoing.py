"""The requests of one connection on their way to the server: those of one turn of the loop go out in one write.

Laws:
1. At most MAX_BACKLOG bytes, and those of one turn, wait for the server at the transport. More requests are held here,
   up to MOST_HELD bytes, until it has taken some: a burst of large bodies is no reason to refuse one of them.
2. A server that takes nothing of such a backlog for PATIENT_LOOKS looks is stuck: what is held is refused, and so is
   what comes, until it takes something. Looks are counted, not seconds: a pause of this process is not one of the
   server.
3. What is held has not been sent, and can be withdrawn.
4. Whoever asks is told once that the process no longer keeps its request: the kernel has it, or it is never sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from .backlog import count_unsent

BIG = 16 * 1024  # bytes of a payload: to copy fewer is cheaper than to write them apart
MAX_BACKLOG = 4 * 1024 * 1024  # bytes that the kernel has not yet taken
MOST_HELD = 64 * 1024 * 1024
LOOK_INTERVAL = 0.05  # seconds between two looks at what waits
PATIENT_LOOKS = 5

_log = structlog.get_logger("nats-http.link")

Tell = Callable[[], None]
_Held = tuple[tuple[bytes, ...], int, Tell | None]


class Outgoing:
    """What is published on one connection, with replies to `prefix` and a token. `refused` is told the tokens of
    requests that were held and are never sent."""

    def __init__(self, prefix: bytes, *, refused: Callable[[bytes], None]) -> None:
        self.is_full = False
        """Whether nothing more could be taken when that was last looked at: `look` looks again."""
        self.written = 0
        """Bytes that were handed to the transport."""
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
        """Those since the server was last seen to take something."""

    def open(self, transport: asyncio.WriteTransport, below: asyncio.WriteTransport | None) -> None:
        """Write here from now on. `below` is what TLS writes to, where there is TLS."""
        self._transport, self._below = transport, below

    def publish(self, subject: bytes, token: bytes, headers: bytes, payload: bytes, tell: Tell | None = None) -> None:
        """Send a request whose reply comes back under `token`. `headers` is a header block or empty. `tell` is called
        once, when the process no longer keeps it; it may not block."""
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

    def _send(self, token: bytes, pieces: tuple[bytes, ...], tell: Tell | None) -> None:
        self._unwritten.add(token)
        for piece in pieces:
            self.write(piece)
        if tell is not None:
            self._awaited.append((self.position, tell))

    def write(self, command: bytes) -> None:
        """Send, in order, what is not held in any case."""
        if not self._queue:
            self._loop.call_soon(self._flush)
        self._queue.append(command)
        self._queued += len(command)
        if self._queued > MAX_BACKLOG:
            self._is_backed_up = True

    def _flush(self) -> None:
        queue, queued = self._queue, self._queued
        self._queue, self._queued = [], 0
        if queue and self._transport is not None and not self._closed:
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
        """Never send a request, if it is still held; whether it was."""
        held = self._held.pop(token, None)
        if held is None:
            return False
        self._held_size -= held[1]
        _call(held[2])
        return True

    def look(self) -> bool:
        """Go on with what waits for the server, as far as it takes it. Whether nothing more can be taken now; also in
        `is_full`, from then on."""
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
        """Bytes that were sent so far, written or about to be."""
        return self.written + self._queued

    @property
    def unwritten(self) -> frozenset[bytes]:
        """The tokens of the requests that were not even handed to the transport."""
        return frozenset((*self._unwritten, *self._held))

    def count_waiting(self) -> int:
        """Bytes that the kernel has not yet taken, and those in its buffer where it tells."""
        if self._transport is None:
            return 0
        return self._count_buffered() + count_unsent(self._transport.get_extra_info("socket"))

    def _count_buffered(self) -> int:
        buffered = self._transport.get_write_buffer_size() if self._transport else 0
        return buffered + self._below.get_write_buffer_size() if self._below else buffered

    def close(self) -> None:
        """Send nothing more. Idempotent; the transport is the connection's to close."""
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
        except Exception:  # a bug of whoever asked: it may not end the connection
            _log.exception("written-not-taken")
