"""NATS messages: header blocks (ADR-4) and replies. Pure.

Law: "no responders" is the status 503 in the status line of a block, not a header that a service wrote.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .fields import TOKEN, Pair, encode_fields, is_clean_value
from .subjects import has_wildcard

MAX_REPLY_BLOCK = 64 * 1024  # bytes of headers that a reply may have

SUBJECT = b"Nats-Subject"
"""The header that has the subject of a message which came another way (ADR-31)."""

_VERSION = b"NATS/1.0"


def encode_block(pairs: Sequence[Pair]) -> bytes:
    """A NATS header block of clean pairs. Empty if there are none, so that a plain PUB is sent."""
    if not pairs:
        return b""
    return b"%b\r\n%b\r\n" % (_VERSION, encode_fields(pairs))


@dataclass(frozen=True, slots=True)
class ReplyBlock:
    """A parsed header block. `status` is the status of its first line, or None. The pairs have names in lower case, in
    their order."""

    status: int | None
    pairs: tuple[Pair, ...]

    def first(self, name: bytes) -> bytes | None:
        """The first value of this header (in lower case), or None."""
        return next((value for key, value in self.pairs if key == name), None)


def parse_block(block: bytes) -> ReplyBlock:
    """Parse a block. Raises ValueError, whose text says what is wrong."""
    if len(block) > MAX_REPLY_BLOCK:
        raise ValueError(f"its headers have {len(block)} bytes, more than {MAX_REPLY_BLOCK}")
    first, *lines = block.split(b"\r\n")
    if first[:8] != _VERSION or (len(first) > 8 and first[8:9] not in b" \t"):
        raise ValueError("its header block does not begin with NATS/1.0")
    if lines[-2:] != [b"", b""]:
        raise ValueError("its header block has no end")
    return ReplyBlock(_parse_status(first[8:]), tuple(_parse_line(line) for line in lines[:-2]))


def _parse_status(text: bytes) -> int | None:
    status = text.split(None, 1)[:1]
    if not status:
        return None
    if not (status[0].isdigit() and len(status[0]) == 3):
        raise ValueError("the status of its header block is not a number of three digits")
    return int(status[0])


def _parse_line(line: bytes) -> Pair:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not TOKEN.fullmatch(name):
        raise ValueError("it has a header whose name is not a token")
    if not is_clean_value(value):
        raise ValueError(f"the value of its header '{name.decode()}' has a control character")
    return name.lower(), value


def is_no_responders(block: bytes, payload: bytes) -> bool:
    """Whether the message means "no responders": a status line of 503, and an empty body (ADR-4)."""
    return not payload and block[:12] == b"NATS/1.0 503" and block[12:13] in (b" ", b"\r")


@dataclass(slots=True)  # a frozen one would take three times as long to make
class Reply:
    """The reply of a service: its raw header block, which may be empty, and its payload."""

    headers: bytes
    payload: bytes


def name_subject(message: Reply, subject: bytes, wanted: str) -> Reply:
    """The message, with its subject in the header SUBJECT if `wanted` has wildcards."""
    if not has_wildcard(wanted):
        return message
    line, _, rest = (message.headers or _VERSION + b"\r\n\r\n").partition(b"\r\n")
    return Reply(b"%b\r\n%b: %b\r\n%b" % (line, SUBJECT, subject, rest), message.payload)
