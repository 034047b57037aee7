"""Proxies in front of the gateway: which of them are trusted, who calls through them, and under which path callers see
the gateway.

Law: only a trusted proxy is believed. Otherwise anybody could choose the caller's address, or the targets of links in
an answer.
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
_MAX_REMEMBERED = 1024  # bytes of such headers; longer ones are parsed each time
_TRUSTED = 4096  # addresses: for each it is remembered whether it is trusted
_FORWARDED, _FOR, _PROTO, _HOST = b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_ADDRESSES = (_FORWARDED, _FOR, _PROTO, _HOST)
_SAY = frozenset((*_ADDRESSES, CLIENT_CERT))
_CERTIFICATE: Pair = (CLIENT_CERT, b"")  # without the value, which is long: `ClientCertificates` reads it itself
_Said = tuple[Pair, ...]
_PREFIX = b"x-forwarded-prefix"
# Segments of unreserved characters (RFC 3986 §2.3), so that the path is the same in a link, in markup and in JSON. No
# segment is `.` or `..`, which a browser would resolve. The path can't begin with `//`, which would mean another host.
_ROOT = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)


def parse_root(text: str) -> str:
    """Parse a path such as `/api`. The result has no slash at its end, and is empty for `/`. Raises ValueError."""
    root = text.removesuffix("/")
    if len(root) > MAX_ROOT or not _ROOT.fullmatch(root):
        raise ValueError("must be a path such as /api or /shop/api, of letters, digits, and - . _ ~")
    return root


class Proxies:
    """`trusted` has the addresses and networks of proxies. `root` is the path under which callers see the gateway,
    unless a proxy says another."""

    def __init__(self, trusted: Iterable[str] = (), *, root: str = "") -> None:
        self._trusted = Networks(trusted)
        self._root = root
        self.are_trusted = bool(self._trusted)
        """Whether any proxy is trusted."""
        self.trusts: Callable[[str | None], bool] = lru_cache(_TRUSTED)(self._is_trusted)
        """Whether the proxy at this address is trusted."""
        self._known: dict[tuple[Caller, _Said], Caller] = {}

    def _is_trusted(self, address: str | None) -> bool:
        return address in self._trusted

    def believe(self, caller: Caller, fields: Sequence[Pair]) -> Caller:
        """The real caller. A trusted proxy names it in `Forwarded` or `X-Forwarded-…`, or shows its certificate in
        `Client-Cert`. If this caller is not a trusted proxy, or has no such header, it is the real caller itself."""
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
            certificate=None,  # it was the certificate of the proxy
            host=origin.host,
            peer=caller.address,
            is_forwarded=True,
        )

    def find_root(self, caller: Caller, fields: Sequence[Pair]) -> str:
        """The path under which this caller sees the gateway, percent-encoded and without a slash at its end. It comes
        from the `X-Forwarded-Prefix` of a trusted proxy, else from the server that runs us as an ASGI application, else
        it is `root`."""
        if self.are_trusted and (caller.is_forwarded or self.trusts(caller.address)):
            said = _join_prefixes(value for name, value in fields if name == _PREFIX)
            if said is not None:
                return said
        return caller.root or self._root


def _join_prefixes(values: Iterable[bytes]) -> str | None:
    """The joined prefixes of several proxies, the outermost first. They are in fields of their own, or separated by
    commas. None if there are none, or if the result is not a path."""
    said = b",".join(values)
    if not said or len(said) > MAX_ROOT:
        return None
    parts = (parse_root(part.strip()) for part in said.decode("latin-1").split(","))
    try:
        return parse_root("".join(parts))
    except ValueError:
        return None
