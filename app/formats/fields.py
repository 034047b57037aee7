"""HTTP header fields, and which of them may travel between HTTP and NATS. Pure.

Laws:
1. Only headers that a route lists travel. Hop-by-hop names (RFC 9110 §7.6.1), `content-length`, `host` and `nats-…`
   never do, even if they are listed. The same is true of names in the `Connection` header.
2. Names and values are checked in both directions. No CR, LF or NUL gets through.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Pair = tuple[bytes, bytes]

MAX_BLOCK = 16 * 1024  # bytes of headers that may travel to a service
MAX_REMEMBERED = 1024  # header names that have been checked, and lists of them

NEVER_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade content-length host".split()
)
OF_PROXIES = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto")
)
"""The headers of proxies that the gateway writes itself for a route that lists them."""
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

CLIENT_CERT = b"client-cert"
"""The header in which a proxy passes on the certificate of its caller (RFC 9440)."""
_OF_CERTIFICATES = frozenset(("client-cert", "client-cert-chain"))

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2, token
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 §5.5
_UPGRADE = frozenset((b"upgrade", b"http2-settings"))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RepeatedFields(list[Pair]):
    """The fields that a connection sends with one request after another, and what need not be found out twice about
    them: `relevant` are those of them that matter for `reader`, and `mentions_trace` is None if nobody has looked."""

    __slots__ = ("mentions_trace", "reader", "relevant")

    def __init__(self, fields: Iterable[Pair]) -> None:
        super().__init__(fields)
        self.reader: object = None
        self.relevant: list[Pair] = []
        self.mentions_trace: bool | None = None


class AllowList:
    """The names of the headers that may pass. On the HTTP side their case does not matter. On the NATS side they are
    written as here, or have the name that `renamed` gives them."""

    __slots__ = ("_canonical", "names")

    def __init__(self, names: Iterable[str], renamed: Iterable[tuple[str, str]] = ()) -> None:
        """Raises ValueError, whose text names a header that can never travel."""
        self._canonical = {name.lower().encode(): name.encode() for name in names}
        self.names = frozenset(self._canonical)
        self._canonical.update((name.lower().encode(), other.encode()) for name, other in renamed)
        for name in (*self._canonical, *self._canonical.values()):
            if not can_travel(name.decode()):
                raise ValueError(f"header '{name.decode()}' can't be forwarded")

    def canonical(self, name: bytes) -> bytes:
        """The name on the NATS side of an allowed header (in lower case)."""
        return self._canonical[name]


@lru_cache(MAX_REMEMBERED)
def allow(names: tuple[str, ...], renamed: tuple[tuple[str, str], ...] = ()) -> AllowList:
    """The list of these names. The same names give the same list. Raises ValueError, whose text names a header that can
    never travel."""
    return AllowList(names, renamed)


def is_token(name: str) -> bool:
    """Whether a text can be the name of a header (RFC 9110 §5.6.2)."""
    return name.isascii() and TOKEN.fullmatch(name.encode("ascii")) is not None


@lru_cache(MAX_REMEMBERED)  # most routes list the default names, 13 each
def can_travel(name: str) -> bool:
    """Whether a route may list this header: it is a token, not hop-by-hop, and not one of NATS itself."""
    return is_token(name) and name.lower().encode("ascii") not in NEVER_FORWARDED and name[:5].lower() != "nats-"


def is_of_proxies(name: str) -> bool:
    """Whether this is a header by which proxies say who calls. It is never copied from a caller."""
    lowered = name.lower()
    return lowered == "forwarded" or lowered in _OF_CERTIFICATES or lowered.startswith("x-forwarded-")


def is_clean_value(value: bytes) -> bool:
    """Whether a header may have this value: it has no control character except tab."""
    return _BAD_VALUE.search(value) is None


def is_clean_request_id(value: bytes) -> bool:
    """Whether the request id of a caller may be used: 1 to 128 of letters, digits, `.`, `_` and `-`."""
    return _REQUEST_ID.fullmatch(value) is not None


def find_hop_by_hop_names(connection: bytes) -> frozenset[bytes]:
    """The names that a `Connection` header makes hop-by-hop (RFC 9110 §7.6.1)."""
    return frozenset([token.strip() for token in connection.lower().split(b",")])


def find_values(pairs: Iterable[Pair], name: bytes) -> list[bytes]:
    """The values of all fields of this name, in their order."""
    return [value for key, value in pairs if key == name]


def join_names(values: Iterable[bytes]) -> bytes:
    """Joins lists of names, such as those of `Vary`. Each name occurs once. If `*` is one of them, the result is
    `*`."""
    joined: dict[bytes, bytes] = {}
    for value in values:
        for name in value.split(b","):
            joined.setdefault(name.strip().lower(), name.strip())
    joined.pop(b"", None)
    return b"*" if b"*" in joined else b", ".join(joined.values())


def add_fields(pairs: Sequence[Pair], added: Iterable[Pair]) -> list[Pair]:
    """Both lists of fields, with a single `vary` for all of theirs. Names are in lower case."""
    both = [*pairs, *added]
    vary = join_names(find_values(both, b"vary"))
    return [*(pair for pair in both if pair[0] != b"vary"), *([(b"vary", vary)] if vary else [])]


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
