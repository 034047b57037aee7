"""The head of an HTTP request and its caller, in the form that all rules use. Pure."""

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
    """The certificate of a caller, from an authority that the gateway trusts. `subject` and `alternatives` (the subject
    alternative names, RFC 5280 §4.2.1.6) are in the order of the certificate. `serial` is hexadecimal in upper case.
    `encoded` is its DER form, and `fingerprint` the SHA-256 of that, hexadecimal in lower case."""

    subject: Names
    alternatives: Names
    serial: str
    fingerprint: str
    encoded: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # `find_caller` returns the same object for the same facts
class Caller:
    """The sender of a request.

    - `address` is its IP address; None if it is not known (a Unix socket, or a proxy that does not say it).
    - `scheme` is `http` or `https`.
    - `lane` is `fast` or `asgi`: the way in which the request is answered.
    - `root` is the path, percent-encoded, under which the caller sees the gateway, if a server that runs us as an ASGI
      application says so; else empty.
    - `certificate` is the client certificate of its TLS connection, if any.
    - `peer` is the address of the trusted proxy that speaks for the caller, if any.
    - `is_forwarded` says that this proxy did so in the headers of the request. Then `host` is the host that was asked
      for, according to the proxy."""

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
        """The address for limits per caller. Callers whose address a proxy does not know share that of the proxy."""
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
    """The caller with these facts. A lookup in the cache costs less than a new object."""
    return Caller(address=address, scheme=scheme, lane=lane, root=root, certificate=certificate, peer=peer)


@dataclass(slots=True)
class Request:
    """The head of an HTTP request.

    - `path` is raw: percent-encoded, without the query. Header names are in lower case.
    - `version` is the HTTP version, such as `1.1`.
    - `received` is the instant (of `time.monotonic`) at which the head was complete.
    - `trace` is set when something first needs it, and `identity` by the policy that finds it out.
    - `added` has header fields (names in lower case), and `vary` names of request fields, separated by commas. They are
      in every answer to this request: see `Policy.check`."""

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
        """Add these names, separated by commas, to the `Vary` of the answer."""
        self.vary = b"%b, %b" % (self.vary, names) if self.vary else names
