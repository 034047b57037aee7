"""What a lane writes. Pure."""

from dataclasses import dataclass, field

from app.headers import Pair, encode_fields

_NOSNIFF: Pair = (b"x-content-type-options", b"nosniff")
_WITH_LENGTH = b"%bx-request-id: %b\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"
_WITHOUT_LENGTH = b"%bx-request-id: %b\r\nx-content-type-options: nosniff\r\n"


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields of clean names and values: as pairs, and as field lines in wire form (RFC 9112 §5)."""

    pairs: tuple[Pair, ...]
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", encode_fields(self.pairs))


@dataclass(slots=True)
class Response:
    """An HTTP response. `slug` says what failed, if anything did; `closes` that the connection is to be closed;
    `length` is the Content-Length, None for none."""

    status: int
    fields: Fields
    body: bytes
    slug: str | None = None
    closes: bool = False
    request_id: bytes = b""
    length: int | None = None

    @property
    def headers(self) -> list[Pair]:
        """All fields, but for `date` and the connection's own."""
        headers = [*self.fields.pairs, (b"x-request-id", self.request_id), _NOSNIFF]
        if self.length is not None:
            headers.append((b"content-length", b"%d" % self.length))
        return headers

    def encode_headers(self) -> bytes:
        """The same in wire form."""
        if self.length is None:
            return _WITHOUT_LENGTH % (self.fields.wire, self.request_id)
        return _WITH_LENGTH % (self.fields.wire, self.request_id, self.length)
