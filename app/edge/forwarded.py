"""Reads the headers of proxies about a caller: `Forwarded` (RFC 7239), `X-Forwarded-For`, `-Proto` and `-Host`. Pure.

Laws:
1. Fields are read from the right, since each proxy appends the address that called it. So the first untrusted address
   from the right belongs to the caller. Everything to the left of it may be invented.
2. If a proxy says anything but an address, such as `unknown` or `_hidden`, the caller has no address.
3. The work is bounded: at most MAX_HOPS entries are read, in the last MAX_SIZE bytes, however long a field is.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .networks import Networks

MAX_HOPS = 32  # entries of one header, from the right
MAX_SIZE = 4096  # bytes of one header, from the right
UNKNOWN = ""
"""The address of a caller whom a proxy does not know."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC 7239 §4, backwards. A quoted value has no backslashes, since no address, scheme or host has any. A value without
# quotes may have colons and brackets: many proxies write `for=192.0.2.1:80`.
_PAIR = rb'("[^"\\]*+"|[\[\]:!#$%&' + rb"'*+\-.^_`|~0-9A-Za-z]++)=(" + _TOKEN + rb"++)"
_PAIRS = re.compile(_PAIR)
_NO_GROUPS = _PAIR.replace(b"(", b"(?:")
_ELEMENT = re.compile(
    rb"[ \t]*+((?:" + _NO_GROUPS + rb")?(?:[ \t]*+;[ \t]*+(?:" + _NO_GROUPS + rb")?)*+)[ \t]*+(?:,|\Z)"
)

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"  # RFC 7239 §6
_NODE = re.compile(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}|([0-9.]+){_PORT}|([0-9A-Fa-f:.]+)", re.ASCII)
# RFC 3986 §3.2.2 and §3.2.3, but narrower: only characters of real hosts, which are harmless in headers and in markup.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_SCHEMES = frozenset(("http", "https"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a request, according to proxies. A field is None if no proxy has said it. The address is UNKNOWN if
    a proxy does not know it."""

    address: str | None = None
    scheme: str | None = None
    host: str | None = None

    def join(self, other: "Origin") -> "Origin":
        """Combine what two headers say. For each field, the value that is not None counts. If two values differ, a
        stranger may have written one of them, and nobody can know which. Then the address is UNKNOWN, and any other
        field is None."""
        return Origin(
            address=_agree(self.address, other.address, UNKNOWN),
            scheme=_agree(self.scheme, other.scheme, None),
            host=_agree(self.host, other.host, None),
        )


def _agree(one: str | None, other: str | None, otherwise: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    return one if one == other else otherwise


def read_forwarded(value: bytes, trusted: Networks) -> Origin:
    """The origin according to all `Forwarded` fields. `value` has them joined with commas."""
    origin = Origin()
    for pairs in islice(_split_elements(value), MAX_HOPS):
        if pairs is None:
            return Origin(address=UNKNOWN)
        if not pairs:
            continue
        node = pairs.get("for")
        address = origin.address if node is None else parse_node(node) or UNKNOWN
        origin = Origin(
            address=address, scheme=_parse_scheme(pairs.get("proto", "")), host=_parse_host(pairs.get("host", ""))
        )
        if node is None or address not in trusted:
            return origin
    return origin


def _split_elements(value: bytes) -> Iterator[Mapping[str, str] | None]:
    """Each element from the right: a mapping of its parameters, with names in lower case. A broken element is None, and
    ends the iteration."""
    backwards, start = _cut(value)[::-1], 0
    while start < len(backwards):
        match = _ELEMENT.match(backwards, start)
        pairs = None if match is None else _read_pairs(match[1])
        yield pairs
        if match is None or pairs is None:
            return
        start = match.end()


def _read_pairs(backwards: bytes) -> Mapping[str, str] | None:
    """The parameters of an element; None if one of them occurs twice (RFC 7239 §4)."""
    found = [
        (name[::-1].decode("ascii").lower(), value[::-1].decode("latin-1").strip('"'))
        for value, name in _PAIRS.findall(backwards)
    ]
    pairs = dict(found)
    return pairs if len(pairs) == len(found) else None


def read_x_forwarded(fors: bytes, protos: bytes, hosts: bytes, trusted: Networks) -> Origin:
    """The origin according to the `X-Forwarded-…` fields. Each argument has all fields of one name, joined with commas.
    The scheme and the host come from the same proxy as the address. If there are fewer of them, the leftmost counts."""
    address, hop = None, 0
    for hop, item in enumerate(_list_items(fors)):  # noqa: B007 - the last value counts
        address = parse_node(item) or UNKNOWN
        if address not in trusted:
            break
    return Origin(
        address=address,
        scheme=_parse_scheme(_pick(protos, hop)),
        host=_parse_host(_pick(hosts, hop)),
    )


def _list_items(value: bytes) -> list[str]:
    """The last MAX_HOPS items, from the right, without empty ones (RFC 9110 §5.6.1)."""
    last = _cut(value).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    return [text for item in reversed(last) if (text := item.decode("latin-1").strip(" \t"))]


def _cut(value: bytes) -> bytes:
    """The last MAX_SIZE bytes of a value. The NUL at the beginning makes the entry that was cut invalid: no address,
    scheme, host or token contains a NUL."""
    return value if len(value) <= MAX_SIZE else b"\0" + value[-MAX_SIZE:]


def _pick(value: bytes, hop: int) -> str:
    items = _list_items(value)
    return items[min(hop, len(items) - 1)] if items else ""


def parse_node(text: str) -> str | None:
    """The address in a text such as `192.0.2.1:80` or `[2001:db8::1]`, with or without quotes, in canonical form; None
    for anything else. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    match = _NODE.fullmatch(text[1:-1] if text[:1] == text[-1:] == '"' else text)
    if match is None:
        return None
    try:
        address = ipaddress.ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    if match[1] and address.version == 4:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _parse_scheme(text: str) -> str | None:
    scheme = text.lower()
    return scheme if scheme in _SCHEMES else None


def _parse_host(text: str) -> str | None:
    return text if _HOST.fullmatch(text) else None
