"""What a lane writes. Pure."""

from dataclasses import dataclass, field
from functools import lru_cache

from pydantic_core import to_json

from ..edge.request import Request
from ..errors import Delivered, Facts
from ..formats.fields import Pair, add_fields, encode_fields
from ..routing.bodies import Check

NOSNIFF: Pair = (b"x-content-type-options", b"nosniff")
"""A browser takes a body for nothing but its `Content-Type`."""
_NO_CONTENT = frozenset((204, 205, 304))  # RFC 9110 §15.3.5, §15.3.6, §15.4.5
_NO_LENGTH = frozenset((204, 304))
_REMEMBERED = 256  # header fields that `Vary` was joined with
SHORT = 1024  # bytes of those
_WITH_LENGTH = b"%bx-request-id: %b\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"
_SERVER_TIMING = b"server-timing"
_WITH_TIMING = _WITH_LENGTH + b"server-timing: %b\r\n"  # in one go, as it is half of what the header costs
_WITHOUT_LENGTH = b"%bx-request-id: %b\r\nx-content-type-options: nosniff\r\n"

encode_json = to_json
"""Compact JSON in UTF-8; half the cost of `json.dumps`."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields of clean names and values: as pairs, and as field lines in wire form (RFC 9112 §5)."""

    pairs: tuple[Pair, ...]
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", encode_fields(self.pairs))

    def __hash__(self) -> int:
        return hash(self.wire)  # Python keeps that of bytes, and of no tuple


@dataclass(slots=True)
class Response:
    """An HTTP response. `slug` says what failed, if anything did; `closes` that the connection is to be closed;
    `length` is the Content-Length, None for none. `added` are fields that depend on the request, such as those of its
    policies, `timing` is the value of `Server-Timing`. The other four are for its record: the name of the route,
    whether the service has run, the seconds that its reply took, and what else is to be known of a failure."""

    status: int
    fields: Fields
    body: bytes
    slug: str | None = None
    closes: bool = False
    request_id: bytes = b""
    length: int | None = None
    route: str | None = None
    delivered: Delivered = "no"
    reply_time: float | None = None
    facts: Facts = ()
    added: tuple[Pair, ...] = ()
    timing: bytes = b""

    @property
    def headers(self) -> list[Pair]:
        """All fields, but for `date` and the connection's own."""
        headers = [*self.fields.pairs, (b"x-request-id", self.request_id), NOSNIFF]
        if self.length is not None:
            headers.append((b"content-length", b"%d" % self.length))
        if self.timing:
            headers.append((_SERVER_TIMING, self.timing))
        headers += self.added
        return headers

    def encode_headers(self) -> bytes:
        """The same in wire form."""
        if self.length is None:
            encoded = _WITHOUT_LENGTH % (self.fields.wire, self.request_id)
            if self.timing:
                encoded += encode_fields(((_SERVER_TIMING, self.timing),))
        elif self.timing:
            encoded = _WITH_TIMING % (self.fields.wire, self.request_id, self.length, self.timing)
        else:
            encoded = _WITH_LENGTH % (self.fields.wire, self.request_id, self.length)
        return encoded + encode_fields(self.added) if self.added else encoded

    def answer(self, request: Request) -> None:
        """Take over what stands in whatever answers this request."""
        self.added += request.added
        if request.vary:
            join = _join_vary_once if len(self.fields.wire) < SHORT else _join_vary
            self.fields = join(self.fields, request.vary)


@dataclass(slots=True)
class Unchecked(Response):
    """A response whose body is checked elsewhere first, as that takes long."""

    check: Check = field(kw_only=True)


def complete(response: Response, request: Request, request_id: str) -> Response:
    """With what every response to this request has, and without what its status or the method forbids."""
    response.request_id = request_id.encode()
    if request.vary or request.added:
        response.answer(request)
    if response.status in _NO_CONTENT:
        response.body = b""
        response.length = None if response.status in _NO_LENGTH else 0
    else:
        response.length = len(response.body)
        if request.method == "HEAD":
            response.body = b""
    return response


def _join_vary(fields: Fields, names: bytes) -> Fields:
    return Fields(tuple(add_fields(fields.pairs, ((b"vary", names),))))


_join_vary_once = lru_cache(_REMEMBERED)(_join_vary)
