"""Gives the bytes of one connection to the parser: one request at a time, in pieces so small that no other connection
is delayed.

Laws:
1. Bytes after a request in flight are parsed only after its answer. Until then they wait, and reading is paused.
2. So the parser never gets the ends of two requests at once. A head ends with an empty line, a chunked body with
   another one, and any other body has a length: llhttp does not accept a bare LF as the end of a line.
3. Between two bytes of a body, and after its last byte, chunk sizes, chunk extensions and trailers may have at most
   MAX_EXTRA bytes, plus less than a PIECE. Trailers are dropped.
4. Anything but one short request by itself may be expensive to read, such as a body in many chunks. So its pieces take
   turns with those of other connections.

Uses internals of uvicorn 0.54, which tests/http/test_uvicorn_contract.py checks.
"""

import asyncio
import time
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..errors import HeadersTooLarge, Internal, Overloaded, UriTooLong
from .bounds import Bounds
from .head import MAX_FIELDS, find_length

MAX_HEAD = 64 * 1024  # bytes of a request head
MAX_EXTRA = 16 * 1024  # bytes
SHORT = 4096  # bytes; a longer read does not count as one short request
LARGE = 32 * 1024  # bytes; after a larger read, other connections get their turn
PIECE = 8192  # bytes of a chunked body that are parsed at once

IDLE, HEAD, BODY = range(3)

_HEAD_END = b"\r\n\r\n"
_EMPTY_LINES = b"\r\n"


class Flow(FlowControl):
    """Pauses reading as in uvicorn, and also while bytes wait to be parsed: an application that asks for more of its
    body would only add to them."""

    is_held = False

    def hold(self) -> None:
        """Pause reading, until `is_held` is reset."""
        self.is_held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless bytes wait to be parsed."""
        if not self.is_held:
            super().resume_reading()


class Intake(HttpToolsProtocol):
    """Parses the bytes of one connection. A subclass defines `take_error` and the methods after it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.bounds = bounds
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        """The header fields of the request whose body is coming."""
        self.phase = IDLE
        """IDLE between two requests, HEAD while a request head is coming, BODY while a body is coming."""
        self.drops_input = False
        """Whether all further bytes are dropped."""
        self.dropped = 0
        """The number of bytes dropped so far."""
        self.is_expensive = False
        """Whether it has ever sent anything but one short request at a time, which may be expensive to read."""
        self._rest = b""
        self._tail = b""
        """The last parsed bytes, at most 3, of an incomplete request: the end of its head may have begun there."""
        self._head_size = 0
        """The bytes so far of an incomplete head."""
        self.body_left: int | None = 0
        """The missing bytes of the body; None for a chunked one."""
        self.extra = 0
        """The bytes of a chunked body since the last byte of its content (law 3)."""
        self._charged = 0
        """The bytes of this connection that `bounds.unparsed` counts."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin the connection, with a Flow of our own."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)

    @property
    def is_in_flight(self) -> bool:
        """Whether there is a request that has no complete answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Parse bytes. The usual case is short: one whole request, or its head and the beginning of its body."""
        size, cycle = len(data), self.cycle
        if (
            self.phase
            or size > SHORT
            or self._rest
            or self.drops_input
            or (cycle is not None and not cycle.response_complete)
        ):
            self._take(data)
            return
        end = data.find(_HEAD_END) + 4  # 4 is the length of _HEAD_END
        if 4 <= end < size and data.find(_HEAD_END, end) >= 0:
            self._take(data)
            return
        if end >= 4 and self.take_repeated(data, end):
            return
        try:  # as in `_parse`, without a call
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._take_exception(error, data)
        if self.phase:
            self._note_incomplete(data, end if end >= 4 else 0)
        elif end >= 4:
            self.note_whole(data, end)

    def _take(self, data: bytes) -> None:
        """Parse `data` in pieces. If the connection must wait, keep the rest."""
        self.is_expensive = True
        start = 0
        while start < len(data):
            if self.drops_input:
                self.dropped += len(data) - start
                break
            if self._rest or self._must_wait():
                self._rest += data[start:]
                self.flow.hold()
                break
            end = self._take_piece(data, start)
            if end == start and not self.drops_input:
                self.take_error(Internal())  # a bug: the loop would never end
            start = end
        if len(data) > LARGE and not self._rest and self.parser is not None:
            self.flow.pause_reading()  # else one turn of the loop could have up to 32 such reads
            self.bounds.turns.wait(self.go_on)
        self._charge()

    def _must_wait(self) -> bool:
        if self.waits_for_memory() if self.phase == BODY else self.is_in_flight:
            return True
        if self.bounds.turns.is_used_up:
            self.bounds.turns.wait(self.go_on)
            return True
        return False

    def _take_piece(self, data: bytes, start: int) -> int:
        """Parse one piece. Returns the position of its end."""
        phase = self.phase
        if phase == IDLE:
            self._head_size = 0
            if data[start] in _EMPTY_LINES:  # RFC 9112 §2.2: ignore empty lines before a request
                return len(data) - len(data[start:].lstrip(_EMPTY_LINES))
        end = self._find_end(data, start)
        piece = data if end - start == len(data) else data[start:end]
        if phase != BODY and not self._may_be_head(piece):
            return end
        began = time.monotonic()
        self._parse(piece)
        self.bounds.turns.spend(time.monotonic() - began)
        if phase == BODY:
            self._note_body(len(piece))
        elif self.phase == BODY:
            self._begin_body(0)
        self._tail = (piece[-3:] if len(piece) >= 3 else (self._tail + piece)[-3:]) if self.phase else b""
        return end

    def _find_end(self, data: bytes, start: int) -> int:
        """The last position where the next piece may end, so that at most one request ends in it (law 2)."""
        if self.phase == BODY and self.body_left is not None:
            return min(len(data), start + self.body_left)
        limit = min(len(data), start + (PIECE if self.phase == BODY else MAX_HEAD))
        if self._tail:
            early = (self._tail + data[start : start + 3]).find(_HEAD_END)
            if early >= 0:
                return start + early + len(_HEAD_END) - len(self._tail)
        found = data.find(_HEAD_END, start, limit)
        return limit if found < 0 else found + len(_HEAD_END)

    def _may_be_head(self, piece: bytes) -> bool:
        """Whether the head is within its limits with this piece. If not, the request is refused."""
        self._head_size += len(piece)
        if self._head_size > MAX_HEAD or piece.count(b"\n") > MAX_FIELDS + 3:
            too_long = UriTooLong() if len(self.url or b"") > MAX_HEAD // 2 else HeadersTooLarge()
            self.take_error(too_long)
            return False
        return True

    def _parse(self, data: bytes) -> None:
        """Give bytes to the parser. An error becomes a call of `take_error`, an upgrade one of `take_upgrade`."""
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._take_exception(error, data)

    def _take_exception(self, error: Exception, data: bytes) -> None:
        if isinstance(error, httptools.HttpParserUpgrade):
            self.take_upgrade(data[error.args[0] :])
        else:
            self.take_error(error)

    def _note_incomplete(self, data: bytes, end: int) -> None:
        """Count the bytes of an incomplete request in `data`. Its body, or else its head, begins at `end`."""
        if self.phase == BODY:
            self._begin_body(len(data) - end)
        else:
            self._head_size = len(data) - end
        self._tail = data[-3:]
        self._charge()

    def _begin_body(self, parsed: int) -> None:
        length = find_length(self.fields)
        self.body_left = None if length is None else length - parsed
        self.extra = 0
        self.begin_long_body(length)

    def _note_body(self, size: int) -> None:
        """Count the bytes of a piece of a body, and enforce law 3."""
        if self.phase != BODY:
            return
        if self.body_left is not None:
            self.body_left -= size
            return
        self.extra += size
        if self.extra > MAX_EXTRA:
            self.take_error(HeadersTooLarge("The chunk extensions or trailers of the body are too long."))

    def end_chunks(self) -> None:
        """Note that a chunked body is complete. A trailer may have closed the connection (RFC 9112 §9.6)."""
        self.body_left = 0
        if not self.parser.should_keep_alive():
            self.drops_input = True
            self.end_after_answer()

    def go_on(self) -> None:
        """Parse the bytes that wait, and read on."""
        if self.parser is None or self.transport.is_closing():
            return
        rest, self._rest = self._rest, b""
        self.flow.is_held = False
        self._take(rest)
        # More of a body than HIGH_WATER_LIMIT is read when the application asks for it.
        is_full = self.phase == BODY and self.count_kept_body() > HIGH_WATER_LIMIT
        if not (self._rest or is_full or self.waits_for_memory()):
            self.flow.resume_reading()

    def read_again(self, data: bytes) -> None:
        """Parse these bytes in a later turn of the loop, before all others."""
        self._rest = data
        self.flow.hold()
        self.loop.call_soon(self.go_on)

    @property
    def has_rest(self) -> bool:
        """Whether bytes wait to be parsed."""
        return self._rest != b""

    def stop_listening(self) -> None:
        """Drop the bytes that wait, and all further ones."""
        self.drops_input = True
        self._rest = b""
        self.flow.is_held = False
        self._charge()

    def _charge(self) -> None:
        """Count the bytes that this connection keeps. If all connections together have too many, refuse the request."""
        kept = 0 if self.drops_input else len(self._rest) + self.count_kept_body() + self._count_head()
        grown, self._charged = kept - self._charged, kept
        if grown <= 0:
            self.bounds.unparsed.give_back(-grown)
        elif not self.bounds.unparsed.take(grown):
            self._charged -= grown
            self.take_error(Overloaded("The gateway has too many bytes to read."))

    def _count_head(self) -> int:
        return self._head_size if self.phase == HEAD else 0

    def on_body(self, body: bytes) -> None:
        """Count a piece of the body. The parser calls this."""
        self.extra = 0
        super().on_body(body)

    # A subclass defines these.

    def take_error(self, error: Exception) -> None:
        """The request can't be read. `error` is a GatewayError, or an exception of the parser."""
        raise NotImplementedError

    def take_upgrade(self, rest: bytes) -> None:
        """A complete head offers an upgrade. `rest` are the bytes after it."""
        raise NotImplementedError

    def end_after_answer(self) -> None:
        """Close the connection after the answer to the latest request."""
        raise NotImplementedError

    def take_repeated(self, data: bytes, end: int) -> bool:  # noqa: ARG002 - of a subclass
        """Take a request, and say so, if it needs no parser since the head of an earlier one was like its own. `end` is
        the end of its head. No request is in flight."""
        return False

    def note_whole(self, data: bytes, end: int) -> None:
        """These bytes were one whole request, whose head ends at `end`."""

    def begin_long_body(self, length: int | None) -> None:
        """A body has begun, and has not come completely with its head. `length` is None for a chunked one."""

    def waits_for_memory(self) -> bool:
        """Whether the body that is coming waits for memory."""
        return False

    def count_kept_body(self) -> int:
        """The number of bytes of a body that nobody else counts."""
        return 0
