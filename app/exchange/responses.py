"""The HTTP responses that a lane writes. Pure."""

from dataclasses import dataclass, field
from functools import lru_cache

from pydantic_core import to_json

from ..edge.request import Request
from ..errors import Delivered, Facts
from ..formats.fields import Pair, add_fields, encode_fields
from ..routing.bodies import Check

NOSNIFF: Pair = (b"x-content-type-options", b"nosniff")
"""With this field a browser does not guess the type of a body, and uses its `Content-Type`."""
_NO_CONTENT = frozenset((204, 205, 304))  # RFC 9110 §15.3.5, §15.3.6, §15.4.5
_NO_LENGTH = frozenset((204, 304))
_REMEMBERED = 256  # header fields that `Vary` was joined with
SHORT = 1024  # bytes of such fields; longer ones are not remembered
_REQUEST_ID, _LENGTH, _SERVER_TIMING = b"x-request-id", b"content-length", b"server-timing"
SERVER_TIMING = _SERVER_TIMING + b": "
"""The beginning of the line of `Server-Timing`."""
_ID = b"x-request-id: "
_PLAIN_BODY = b"\r\nx-content-type-options: nosniff\r\ncontent-length: "

encode_json = to_json
"""Encodes compact JSON in UTF-8, at half the cost of `json.dumps`."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields, as pairs, and as field lines in wire form (RFC 9112 §5). Names and values must be clean."""

    pairs: tuple[Pair, ...]
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", encode_fields(self.pairs))

    def __hash__(self) -> int:
        return hash(self.wire)  # Python caches the hash of bytes, but not of tuples


class _Digits(dict[int, bytes]):
    """The digits of numbers. Those of small ones are kept: to join texts takes half the time of formatting."""

    def __missing__(self, number: int) -> bytes:
        digits = b"%d" % number
        if number < _MOST_DIGITS:
            self[number] = digits
        return digits


_MOST_DIGITS = 4096
_DIGITS = _Digits()


@dataclass(slots=True)
class Response:
    """An HTTP response.

    - `slug` is the problem, if the request failed.
    - `closes` says that the connection is closed after the response.
    - `length` is the Content-Length; None means no such field.
    - `added` has fields that depend on the request, such as those of its policies.
    - `timing` is the line of `Server-Timing`, in wire form; b"" means no such field.
    - The record also needs `route` (its name), `delivered` (whether the service has run), `reply_time` (the seconds
      that the reply took) and `facts` (more about a failure)."""

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
        """All fields, except `date` and those of the connection."""
        headers = [*self.fields.pairs, (_REQUEST_ID, self.request_id), NOSNIFF]
        if self.length is not None:
            headers.append((_LENGTH, _DIGITS[self.length]))
        if self.timing:
            headers.append((_SERVER_TIMING, self.timing.removeprefix(SERVER_TIMING).removesuffix(b"\r\n")))
        headers += self.added
        return headers

    def encode(self, begin: bytes, end: bytes, body: bytes = b"") -> bytes:
        """The response on the wire: its fields between `begin` and `end`, and the body. All is joined at once: this is
        a tenth of what a request costs here."""
        length = self.length
        if self.added or length is None:
            return b"".join((begin, encode_fields(self.headers), end, body))
        fields, number = self.fields.wire, _DIGITS[length]
        return b"".join((begin, fields, _ID, self.request_id, _PLAIN_BODY, number, b"\r\n", self.timing, end, body))

    def answer(self, request: Request) -> None:
        """Take over the fields and the `Vary` names that every answer to this request must have."""
        self.added += request.added
        if request.vary:
            join = _join_vary_once if len(self.fields.wire) < SHORT else _join_vary
            self.fields = join(self.fields, request.vary)


@dataclass(slots=True)
class Unchecked(Response):
    """A response whose body must be checked before it is sent. The checker does it, since it takes long."""

    check: Check = field(kw_only=True)


def complete(response: Response, request: Request, request_id: str) -> Response:
    """Complete a response, and return it: add the fields of every response to this request, and remove the body that
    its status or the method forbids."""
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
