"""Finds the replies to one inbox in the bytes that a server sends. Pure."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SID = 1
TOKEN_LENGTH = 16  # bytes of the token that identifies the request of a reply
# nats-server allows no more for max_payload than 64 MiB, headers included, and may add headers of its own.
LARGEST_MESSAGE = 64 * 1024 * 1024 + 64 * 1024
WRONG_END = "the server sent a message that does not end where it should"
TOO_LARGE = "the server announced a message of an impossible size"

_END = b"\r\n"


def make_tokens() -> Iterator[bytes]:
    """Tokens of 64 random bits from the system, so that no service can guess the reply subject of another request. They
    are made 512 at a time, since a system call for each would be the largest cost of a request here."""
    while True:
        pool = secrets.token_hex(TOKEN_LENGTH // 2 * 512).encode("ascii")
        for start in range(0, len(pool), TOKEN_LENGTH):
            yield pool[start : start + TOKEN_LENGTH]


@dataclass(slots=True)
class _Partial:
    """An incomplete reply. `head` is the size of its header block. `pieces` has the bytes of header block and payload
    that have come. `missing` is the number of missing bytes, with the final CR LF. `since` is the instant at which it
    began."""

    token: bytes
    head: int
    pieces: list[bytes]
    missing: int
    since: float = field(default_factory=time.monotonic)

    def add(self, data: bytes) -> int:
        """Take the bytes at the beginning of `data` that belong to the reply. Returns their number."""
        piece = data[: self.missing]
        self.pieces.append(piece)
        self.missing -= len(piece)
        return len(piece)

    def finish(self) -> tuple[bytes, bytes] | None:
        """The header block and the payload; None if no CR LF follows them."""
        last = self.pieces.pop()
        while len(last) < len(_END) and self.pieces:
            last = self.pieces.pop() + last
        if not last.endswith(_END):
            return None
        whole = b"".join((*self.pieces, last[: -len(_END)]))
        return (whole[: self.head], whole[self.head :]) if self.head else (b"", whole)


class Inbox:
    """The subscription SID to `prefix` and any token. It calls `replied` with each reply once, complete and in order,
    whatever the pieces in which it arrived: token, header block (empty if there is none), payload. For an impossible
    reply it calls `broken` with the reason instead. It never waits for more than LARGEST_MESSAGE bytes of a reply."""

    is_paced = False
    """Whether its messages are taken in short turns of the event loop."""

    def __init__(
        self, prefix: bytes, *, replied: Callable[[bytes, bytes, bytes], None], broken: Callable[[str], None]
    ) -> None:
        self.prefix = prefix
        self.received = 0
        """Grows with every reply that is handed over: by all its bytes if it came in one piece, else by the bytes of
        its last piece."""
        self._replied = replied
        self._broken = broken
        self._partial: _Partial | None = None
        plain, with_headers = self.make_patterns(prefix)
        self._match_plain = re.compile(plain).match
        self._match_with_headers = re.compile(with_headers).match

    @staticmethod
    def make_patterns(prefix: bytes) -> tuple[bytes, bytes]:
        """The patterns of the lines before a message without headers and one with headers. Their groups are the token
        and the sizes."""
        start = rb"MSG %b([^ ]{%d}) %d " % (re.escape(prefix), TOKEN_LENGTH, SID)
        return rb"%b(\d{1,9})\r\n" % start, rb"H%b(\d{1,9}) (\d{1,9})\r\n" % start

    def make_token(self, subject: bytes, _sid: int, _reply: bytes) -> bytes:
        """The token of a message that nats-py has parsed."""
        return subject[len(self.prefix) :]

    @property
    def coming(self) -> tuple[float, int] | None:
        """The instant at which an incomplete reply began, and the number of its missing bytes; None if there is
        none."""
        return (self._partial.since, self._partial.missing) if self._partial is not None else None

    def take(self, data: bytes) -> int:
        """Hand over the replies at the beginning of `data`. Returns the number of their bytes. The bytes after them are
        for nats-py."""
        match_plain, replied = self._match_plain, self._replied
        end = 0
        if self._partial is not None:
            end = self._go_on(data)
            if self._partial is not None:
                return end
        while end < len(data):
            if match := match_plain(data, end):
                token, size = match.groups()
                middle = start = match.end()
            elif match := self._match_with_headers(data, end):
                token, head, size = match.groups()
                start = match.end()
                middle = start + int(head)
                if int(head) > int(size):
                    self._broken(WRONG_END)
                    return len(data)
            else:
                break
            stop = start + int(size)
            if not data.startswith(_END, stop):
                if stop + len(_END) <= len(data):
                    self._broken(WRONG_END)
                    return len(data)
                self.received += end
                self._begin(_Partial(token, middle - start, [data[start:]], stop + len(_END) - len(data)))
                return len(data)
            replied(token, data[start:middle], data[middle:stop])
            end = stop + 2
        self.received += end
        return end

    def _begin(self, partial: _Partial) -> None:
        if partial.missing > LARGEST_MESSAGE:
            self._broken(TOO_LARGE)
        else:
            self._partial = partial

    def _go_on(self, data: bytes) -> int:
        """Continue the incomplete reply. Returns the number of bytes of `data` that belong to it."""
        partial = self._partial
        if partial is None:
            return 0
        end = partial.add(data)
        if not partial.missing:
            self._partial = None
            if found := partial.finish():
                self._replied(partial.token, *found)
            else:
                self._broken(WRONG_END)
        return end
