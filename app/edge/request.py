"""The head of an HTTP request, and who sent it, as all rules see them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..formats.fields import Pair
from ..observe.trace_context import Trace
from .identity import Identity

BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))
"""Methods whose requests usually have a body."""

_REMEMBERED = 4096  # callers

Names = tuple[tuple[str, str], ...]
"""Pairs of a kind, such as `commonName` or `DNS`, and a name."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Whom a caller has proved to be, by a certificate of an authority that the gateway trusts. `subject` and
    `alternatives` (the subject's alternative names, RFC 5280 §4.2.1.6) are in the order of the certificate, `serial` is
    hexadecimal in capitals, `fingerprint` the SHA-256 of its DER form, `encoded`, in small hexadecimal digits."""

    subject: Names
    alternatives: Names
    serial: str
    fingerprint: str
    encoded: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # `find_caller` gives the same one for the same facts
class Caller:
    """Who sent a request. `address` is its IP address, None where that is not known (a Unix socket, or a proxy that
    does not say it); `scheme` is `http` or `https`; `lane` is how its request is answered, `fast` or `asgi`; `root`
    is the path, percent-encoded, under which it sees the gateway, where a server that runs us as an ASGI application
    says so; `certificate` is that of its end of the TLS connection. Where a trusted proxy speaks for it, `peer` is the
    address of that; with `is_forwarded` it did so in the headers of this request, and `host` is the one that it says
    was asked for."""

    address: str | None
    scheme: str
    lane: str
    root: str = ""
    certificate: PeerCertificate | None = None
    peer: str | None = None
    is_forwarded: bool = False
    host: str | None = None

    @property
    def counted_as(self) -> str | None:
        """The address for bounds on each caller. Callers that a proxy does not know share its address."""
        return self.address or self.peer


@lru_cache(_REMEMBERED)
def find_caller(
    address: str | None,
    scheme: str,
    lane: str,
    root: str = "",
    certificate: PeerCertificate | None = None,
    peer: str | None = None,
) -> Caller:
    """The caller with these facts; to look it up costs less than to make it."""
    return Caller(address=address, scheme=scheme, lane=lane, root=root, certificate=certificate, peer=peer)


@dataclass(slots=True)
class Request:
    """The head of an HTTP request. `path` is raw: still percent-encoded, without the query. Header names are in lower
    case. `version` is that of HTTP, such as `1.1`. `received` is the instant (of `time.monotonic`) at which the head
    was complete; `trace` comes with the first that needs it, and `identity` with the policy that finds it out. `added`
    are header fields, in lower case, and `vary` the names of request fields, separated by commas, that stand in
    whatever answers this request: see `Policy.check`."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[Pair]
    version: str
    received: float
    caller: Caller
    trace: Trace | None = None
    identity: Identity | None = None
    added: tuple[Pair, ...] = ()
    vary: bytes = b""

    def vary_by(self, names: bytes) -> None:
        """Have these in `Vary` as well."""
        self.vary = b"%b, %b" % (self.vary, names) if self.vary else names
