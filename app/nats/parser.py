"""What comes over the wire: replies to the inbox are taken off it, nats-py gets the rest."""

import ast
import asyncio
import re
import time
from collections.abc import Callable

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from .inbox import LARGEST_MESSAGE, TOO_LARGE, Inbox

LONGEST_LINE = 64 * 1024  # bytes; INFO has the addresses of all servers of a cluster
STEP = 2 * 1024  # bytes that nats-py parses in one turn of the loop: it may be a flood of lines

_DENIED_PUBLISH = re.compile(rb"""-ERR\s+'Permissions Violation for Publish to (".*")'\r\n""", re.IGNORECASE)


class WireParser(Parser):
    """nats-py's parser, but replies to the inbox, which are nearly all that ever comes, are taken in one pass. It is
    given the rest, and no incomplete reply but one behind that, since it would copy the payload three times."""

    def __init__(self, client: Client, inbox: Inbox, *, broken: Callable[[str], None]) -> None:
        super().__init__(client)
        self._inbox = inbox
        self._broken = broken
        self.parsed = 0
        """Bytes so far."""
        self.coming_since: float | None = None
        """The instant at which what is still incomplete began."""

    async def parse(self, data: bytes = b"") -> None:
        """As in nats-py, but replies are found by the inbox, what can't be of the protocol is not waited for, and the
        loop has a turn after each STEP bytes that are no replies."""
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
        """How many bytes are done with, at least one, and how many of them, or of those before, nats-py has parsed."""
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
        """nats-py waits for the end of anything, and for more of a line of over 4 KiB that it can't read."""
        if self.state != AWAITING_CONTROL_LINE:
            if self.needed > LARGEST_MESSAGE:
                self._broken(TOO_LARGE)
        elif b"\r\n" in self.buf or len(self.buf) > LONGEST_LINE:
            self._broken("the server sent a line that is none of its protocol")


class Tap(asyncio.Protocol):
    """Takes replies off the wire before the stream that nats-py reads from, which would copy them and wake a task. It
    passes on the rest, and all that comes while nats-py is not yet done with that, or with the `unread` bytes that the
    stream had before. `drained` is called when the kernel has taken what waited for it, but for little."""

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
        """Replies go to the inbox, the rest to the stream."""
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
        """The stream would stay open for what is still to be written: with TLS it can't, and nobody would read it."""
        self._end()


def read_denial(line: bytes) -> str | None:
    """The subject to which the server, with this line, refused a publish; None where it says something else."""
    denied = _DENIED_PUBLISH.match(line)
    if denied is None:
        return None
    try:  # quoted in the manner of Go's %q, which a Python literal reads as well
        return str(ast.literal_eval(denied[1].decode("utf-8")))
    except (SyntaxError, ValueError):
        return ""
