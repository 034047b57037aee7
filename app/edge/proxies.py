"""Proxies in front of the gateway: which of them are trusted, who calls through them, and under which path callers see
the gateway.

Law: only a trusted proxy is believed. Anybody else could otherwise choose an address, or where the links of an answer
lead.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from ..formats.fields import CLIENT_CERT, Pair
from .forwarded import read_forwarded, read_x_forwarded
from .networks import Networks
from .request import Caller

MAX_ROOT = 256  # characters

_REMEMBERED = 1024  # callers, each with the headers of a proxy
_MAX_REMEMBERED = 1024  # bytes of such headers; longer ones are read again each time
_TRUSTED = 4096  # addresses of which it is remembered whether they are trusted
_FORWARDED, _FOR, _PROTO, _HOST = b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_ADDRESSES = (_FORWARDED, _FOR, _PROTO, _HOST)
_SAY = frozenset((*_ADDRESSES, CLIENT_CERT))
_CERTIFICATE: Pair = (CLIENT_CERT, b"")  # who needs it reads it: it is long
_Said = tuple[Pair, ...]
_PREFIX = b"x-forwarded-prefix"
# Segments of unreserved characters (RFC 3986 §2.3), so that the path is the same in a link, in markup and in JSON. None
# of them is `.` or `..`, which a browser would resolve; and it can't begin with `//`, which would be another host.
_ROOT = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)


def parse_root(text: str) -> str:
    """A path such as `/api`, without a slash at its end; empty for `/`. ValueError says what one looks like."""
    root = text.removesuffix("/")
    if len(root) > MAX_ROOT or not _ROOT.fullmatch(root):
        raise ValueError("must be a path such as /api or /shop/api, of letters, digits, and - . _ ~")
    return root


class Proxies:
    """`trusted` are addresses and networks of proxies; `root` is the path under which callers see the gateway where no
    proxy says anything else."""

    def __init__(self, trusted: Iterable[str] = (), *, root: str = "") -> None:
        self._trusted = Networks(trusted)
        self._root = root
        self.are_trusted = bool(self._trusted)
        """Whether any proxy is believed."""
        self.trusts: Callable[[str | None], bool] = lru_cache(_TRUSTED)(self._is_trusted)
        """Whether the proxy at this address is believed."""
        self._known: dict[tuple[Caller, _Said], Caller] = {}

    def _is_trusted(self, address: str | None) -> bool:
        return address in self._trusted

    def believe(self, caller: Caller, fields: Sequence[Pair]) -> Caller:
        """Who really calls. If this caller is a trusted proxy, that is the caller that it names in `Forwarded` or
        `X-Forwarded-…`, or whose certificate it shows in `Client-Cert`, if it does; else it is this caller."""
        pairs = [_CERTIFICATE if pair[0] == CLIENT_CERT else pair for pair in fields if pair[0] in _SAY]
        if not pairs:
            return caller
        said = tuple(pairs)
        return self._known.get((caller, said)) or self._find(caller, said)

    def _find(self, caller: Caller, said: _Said) -> Caller:
        if not self.trusts(caller.address):
            return caller
        found = self._read(caller, said)
        if sum(len(value) for _, value in said) <= _MAX_REMEMBERED:
            if len(self._known) == _REMEMBERED:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[caller, said] = found
        return found

    def _read(self, caller: Caller, said: _Said) -> Caller:
        joined = {name: b",".join([value for other, value in said if other == name]) for name in _ADDRESSES}
        origin = read_forwarded(joined[_FORWARDED], self._trusted).join(
            read_x_forwarded(joined[_FOR], joined[_PROTO], joined[_HOST], self._trusted)
        )
        return replace(
            caller,
            address=caller.address if origin.address is None else origin.address or None,
            scheme=origin.scheme or caller.scheme,
            certificate=None,  # that of the proxy
            host=origin.host,
            peer=caller.address,
            is_forwarded=True,
        )

    def find_root(self, caller: Caller, fields: Sequence[Pair]) -> str:
        """The path under which this caller sees the gateway, percent-encoded and without a slash at its end: as the
        `X-Forwarded-Prefix` of a trusted proxy says, else as the server under an ASGI application says, else `root`."""
        if self.are_trusted and (caller.is_forwarded or self.trusts(caller.address)):
            said = _join_prefixes(value for name, value in fields if name == _PREFIX)
            if said is not None:
                return said
        return caller.root or self._root


def _join_prefixes(values: Iterable[bytes]) -> str | None:
    """Each proxy in a row adds its own, the outermost first, be it in a field of its own or behind a comma. None where
    nobody has said anything, or not a path."""
    said = b",".join(values)
    if not said or len(said) > MAX_ROOT:
        return None
    parts = (parse_root(part.strip()) for part in said.decode("latin-1").split(","))
    try:
        return parse_root("".join(parts))
    except ValueError:
        return None
