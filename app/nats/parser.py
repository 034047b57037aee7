"""Splits the bytes from the server: the inbox gets the replies, and nats-py everything else."""

import ast
import asyncio
import re
import time
from collections.abc import Callable
from typing import Literal

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from .inbox import LARGEST_MESSAGE, TOO_LARGE, Inbox

LONGEST_LINE = 64 * 1024  # bytes; INFO has the addresses of all servers of a cluster
TURN = 2 * 1024  # bytes of messages for callers in one turn of the loop
LONG_TURN = 0.001  # seconds; after a longer turn others get as much time
_LINE_END = b"\r\n"
STEP = 2 * 1024  # bytes that nats-py parses in one turn of the loop, since they may be a flood of lines

_DENIED = re.compile(
    rb"""-ERR\s+'Permissions Violation for (Publish|Subscription) to ("(?:[^"\\]|\\.)*").*'\r\n""", re.IGNORECASE
)


class WireParser(Parser):
    """The parser of nats-py, with a fast path: the inbox takes the replies, nearly all of the bytes, in one pass. Only
    other bytes go to nats-py. It gets an incomplete reply only if that follows such bytes, since it copies a payload
    three times."""

    def __init__(self, client: Client, inbox: Inbox, *, broken: Callable[[str], None]) -> None:
        super().__init__(client)
        self._inbox = inbox
        self._broken = broken
        self.parsed = 0
        """The number of bytes parsed so far."""
        self.coming_since: float | None = None
        """The instant at which an incomplete message or line began; None if there is none."""

    async def parse(self, data: bytes = b"") -> None:
        """Parse bytes, as in nats-py, with three differences: the inbox takes replies; bytes that can't become a valid
        message end the connection; and the event loop gets a turn after each STEP bytes that are not replies."""
        slow = 0
        while data:
            size, parsed = await self._parse_some(data)
            data = data[size:]
            self.parsed += size
            slow += parsed
            if data and slow >= STEP:
                slow = 0
                await asyncio.sleep(0)
        if not self.buf and self.state == AWAITING_CONTROL_LINE:
            self.coming_since = None
        elif self.coming_since is None:
            self.coming_since = time.monotonic()

    async def _parse_some(self, data: bytes) -> tuple[int, int]:
        """Parse a part of the bytes. Returns the number of bytes that are done, at least one, and the number of bytes
        that nats-py has parsed; these may include earlier ones."""
        kept = 0
        if self.buf and self.state == AWAITING_CONTROL_LINE:
            kept = len(self.buf)
            data = bytes(self.buf) + data
            self.buf.clear()
        elif self.buf or self.state != AWAITING_CONTROL_LINE:
            piece = data[: self.needed + 2 - len(self.buf)]
            await super().parse(piece)
            return len(piece), len(piece)
        start = self._inbox.take(data)
        piece = data[start : max(start, kept) + STEP]
        if piece:
            await super().parse(piece)
            self._check_what_is_coming()
        return start + len(piece) - kept, len(piece)

    def _check_what_is_coming(self) -> None:
        """End the connection if nats-py would wait for an impossible message or line. It has no such limits itself."""
        if self.state != AWAITING_CONTROL_LINE:
            if self.needed > LARGEST_MESSAGE:
                self._broken(TOO_LARGE)
        elif b"\r\n" in self.buf or len(self.buf) > LONGEST_LINE:
            self._broken("the server sent a line that is not part of the NATS protocol")


class Tap(asyncio.Protocol):
    """The protocol of the socket, before the stream that nats-py reads from. It gives replies to the inbox directly,
    since the stream would copy them and wake a task. It passes on all other bytes. Until nats-py has parsed these, and
    the `unread` bytes that the stream had before, it passes on everything. `drained` is called when the kernel has
    taken most of the waiting bytes."""

    def __init__(
        self,
        stream: asyncio.Protocol,
        parser: WireParser,
        inbox: Inbox,
        *,
        unread: int,
        drained: Callable[[], object] = lambda: None,
    ) -> None:
        self._parser = parser
        self._take_replies = inbox.take
        self._passed_on = parser.parsed + unread
        self._pass_on = stream.data_received
        self._end = stream.eof_received
        self.connection_lost = stream.connection_lost  # type: ignore[method-assign]
        self.pause_writing = stream.pause_writing  # type: ignore[method-assign]
        self._resume_writing = stream.resume_writing
        self._drained = drained

    def data_received(self, data: bytes) -> None:
        """Give replies to the inbox, and all other bytes to the stream."""
        parser = self._parser
        if self._passed_on == parser.parsed and not parser.buf and parser.state == AWAITING_CONTROL_LINE:
            end = self._take_replies(data)
            if end == len(data):
                return
            data = data[end:]
        self._passed_on += len(data)
        self._pass_on(data)

    def resume_writing(self) -> None:
        self._resume_writing()
        self._drained()

    def eof_received(self) -> None:
        """End the connection. The stream would ask to stay open for its last writes, but TLS can't do that, and nobody
        would read them."""
        self._end()


class PacedTap(Tap):
    """A Tap that hands over TURN bytes in one turn of the event loop. Meanwhile it reads nothing more. So the server
    waits, or ends a connection that is too slow for it."""

    _data = b""
    _at = 0
    """What has come, and how much of it is handed over."""

    def __init__(
        self,
        stream: asyncio.Protocol,
        parser: WireParser,
        inbox: Inbox,
        *,
        unread: int,
        drained: Callable[[], object],
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(stream, parser, inbox, unread=unread, drained=drained)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Hand over the first bytes, and the others in later turns."""
        if self._data:
            self._data = self._data[self._at :] + data
            self._at = 0
        elif len(data) <= TURN:
            super().data_received(data)
        else:
            self._data = data
            self._transport.pause_reading()
            self._go_on()

    def _go_on(self) -> None:
        """Hand over the bytes of one turn, up to the end of a line if there is one."""
        if self._transport.is_closing():
            return
        start, last = self._at, self._at + TURN
        if last < len(self._data):
            end = self._data.rfind(_LINE_END, start, last) + len(_LINE_END)
            self._at = last if end < start + len(_LINE_END) else end
        else:
            self._at = len(self._data)
        started = time.monotonic()
        super().data_received(self._data[start : self._at])
        if self._at < len(self._data):
            pause = time.monotonic() - started
            self._loop.call_later(pause if pause > LONG_TURN else 0, self._go_on)
        else:
            self._data, self._at = b"", 0
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """As in Tap, after all that has come."""
        super().data_received(self._data[self._at :])
        self._data = b""
        super().eof_received()


def read_denial(line: bytes, what: Literal["Publish", "Subscription"] = "Publish") -> str | None:
    """The subject of a denied publish or subscription, if this -ERR line is about one, else None. Empty if it can't be
    read."""
    denied = _DENIED.match(line)
    if denied is None or denied[1].lower() != what.lower().encode():
        return None
    try:  # quoted by Go's %q; Python reads it as a literal
        return str(ast.literal_eval(denied[2].decode("utf-8")))
    except (SyntaxError, ValueError):
        return ""
