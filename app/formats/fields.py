"""HTTP headers to NATS headers and back (ADR-4), by allow-lists.

Laws:
1. Only what a route lists travels. Hop-by-hop names (RFC 9110 §7.6.1), `content-length`, `host` and `nats-…` never
   do, listed or not; nor does a name that the `Connection` header nominates.
2. Names and values are checked both ways: a CR, LF or NUL never reaches a wire.
3. "No responders" is the status 503 in the status line of a block, not a header that a service wrote.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

Pair = tuple[bytes, bytes]

MAX_BLOCK = 16 * 1024  # bytes of headers that may travel to a service
MAX_REMEMBERED = 1024  # header names, and lists of them, that have been checked
MAX_REPLY_BLOCK = 64 * 1024  # bytes of headers that may come from one

NEVER_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade content-length host".split()
)
REQUEST_HEADERS = ("traceparent", "tracestate", "x-request-id")
REPLY_HEADERS = (
    "content-type",
    "content-language",
    "content-disposition",
    "cache-control",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "link",
    "vary",
)

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2, token
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 §5.5
_UPGRADE = frozenset((b"upgrade", b"http2-settings"))
_VERSION = b"NATS/1.0"
_NO_PREFERENCE = frozenset((b"", b"*/*", b"application/json"))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class AllowList:
    """The header names that may pass, in any case on the HTTP side and as they are spelt here on the NATS side."""

    __slots__ = ("_spelling", "names")

    def __init__(self, names: Iterable[str]) -> None:
        """ValueError names the header that can never travel."""
        self._spelling = {name.lower().encode(): name.encode() for name in names}
        self.names = frozenset(self._spelling)
        for name in self.names:
            if not can_travel(name.decode()):
                raise ValueError(f"header '{name.decode()}' can't be forwarded")

    def spell(self, name: bytes) -> bytes:
        return self._spelling[name]


@lru_cache(MAX_REMEMBERED)
def allow(names: tuple[str, ...]) -> AllowList:
    """The list of these names, which all share who ask for it. ValueError names the header that can never travel."""
    return AllowList(names)


def is_token(name: str) -> bool:
    """Whether a text can be the name of a header (RFC 9110 §5.6.2)."""
    return name.isascii() and _NAME.fullmatch(name.encode("ascii")) is not None


@lru_cache(MAX_REMEMBERED)  # most routes list the default names, 13 each
def can_travel(name: str) -> bool:
    """Whether a header may be listed: it is a token, not hop-by-hop, and not NATS's own."""
    return is_token(name) and name.lower().encode("ascii") not in NEVER_FORWARDED and name[:5].lower() != "nats-"


def is_clean_value(value: bytes) -> bool:
    """Whether a value can stand on a wire: no control characters but tab."""
    return _BAD_VALUE.search(value) is None


def is_clean_request_id(value: bytes) -> bool:
    return _REQUEST_ID.fullmatch(value) is not None


def nominated(connection: bytes) -> frozenset[bytes]:
    """The names that a `Connection` header makes hop-by-hop (RFC 9110 §7.6.1)."""
    return frozenset([token.strip() for token in connection.lower().split(b",")])


def encode_block(pairs: Sequence[Pair]) -> bytes:
    """A NATS header block of clean pairs; empty when there are none, so that a plain PUB is sent."""
    if not pairs:
        return b""
    return b"%b\r\n%b\r\n" % (_VERSION, encode_fields(pairs))


def encode_fields(pairs: Iterable[Pair]) -> bytes:
    """Field lines of clean pairs, in wire form (RFC 9112 §5)."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def without_upgrade(pairs: Iterable[Pair]) -> Iterable[Pair]:
    """The fields of a request without its offer to upgrade (RFC 9110 §7.8)."""
    for name, value in pairs:
        if name == b"connection":
            value = b", ".join(token for token in value.split(b",") if token.strip().lower() not in _UPGRADE)
        if name not in _UPGRADE:
            yield name, value


@dataclass(frozen=True, slots=True)
class ReplyBlock:
    """A parsed header block: the status of its first line, or None, and the pairs with lower-case names, in order."""

    status: int | None
    pairs: tuple[Pair, ...]

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.pairs if key == name), None)


def parse_block(block: bytes) -> ReplyBlock:
    """ValueError says what is wrong with the block."""
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
    if not colon or not _NAME.fullmatch(name):
        raise ValueError("it has a header whose name is not a token")
    if not is_clean_value(value):
        raise ValueError(f"the value of its header '{name.decode()}' has a control character")
    return name.lower(), value


def is_no_responders(block: bytes, payload: bytes) -> bool:
    """ADR-4 and the protocol's words: a status line of 503 and an empty body."""
    return not payload and block[:12] == b"NATS/1.0 503" and block[12:13] in (b" ", b"\r")


def prefers_plain_text(accept: bytes) -> bool:
    """Whether an `Accept` value puts text/plain before application/json (RFC 9110 §12.5.1). Of two that are equal,
    the one that is named more exactly wins; else JSON, as the gateway's own choice."""
    if accept in _NO_PREFERENCE:
        return False
    ranges = list(_parse_accept(accept.decode("latin-1").lower()))
    plain = _quality(ranges, "text/plain", "text/*")
    return plain[0] > 0 and plain > _quality(ranges, "application/json", "application/*")


def _quality(ranges: Sequence[tuple[str, float]], media_type: str, family: str) -> tuple[float, int]:
    for exactness, name in ((2, media_type), (1, family), (0, "*/*")):
        for media_range, quality in ranges:
            if media_range == name:
                return quality, exactness
    return 0.0, 0


def _parse_accept(accept: str) -> Iterable[tuple[str, float]]:
    for item in accept.split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield media_range, min(max(float(weight), 0.0), 1.0)
        except ValueError:
            yield media_range, 0.0
