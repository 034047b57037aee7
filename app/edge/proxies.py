"""Proxies in front of the gateway: which of them are trusted, and under which path callers see the gateway.

Law: only a trusted proxy is believed. Anybody else could otherwise choose where the links of an answer lead.
"""

import re
from collections.abc import Iterable, Sequence

from ..formats.fields import Pair
from .networks import Networks
from .request import Caller

MAX_ROOT = 256  # characters

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

    def find_root(self, caller: Caller, fields: Sequence[Pair]) -> str:
        """The path under which this caller sees the gateway, percent-encoded and without a slash at its end: as the
        `X-Forwarded-Prefix` of a trusted proxy says, else as the server under an ASGI application says, else `root`."""
        if self._trusted and caller.address in self._trusted:
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
