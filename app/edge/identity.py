"""The identity of a caller, and the interface of the schemes of `auth`, which find it out. Pure."""

import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..formats.schemas import Json

if TYPE_CHECKING:
    from .request import Request


OVERHEAD = 512
"""Bytes of memory of an identity without its claims, about."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749 §3.3, scope-token


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is. `scheme` is the name of the scheme of `auth` that has found it out."""

    scheme: str
    subject: str
    scopes: frozenset[str]
    claims: Mapping[str, Json]


AsyncIdentify = Callable[[], Awaitable[Identity]]
"""Finds out an identity with data that must be fetched first. Raises Unauthenticated or KeysUnavailable."""


class Scheme(Protocol):
    """One way in which callers say who they are. `fields` are the names (lower case) of the request header fields that
    it reads. `query` is the name of the query parameter that it reads, or None. `challenge` is the value for
    `WWW-Authenticate` (RFC 9110 §11.6.1), or empty."""

    @property
    def fields(self) -> frozenset[bytes]: ...

    @property
    def query(self) -> str | None: ...

    @property
    def challenge(self) -> str: ...

    def identify(self, request: "Request") -> "Identity | AsyncIdentify | None":
        """The identity of the caller; None if the request has no credential of this kind. Returns an AsyncIdentify if
        data must be fetched first. Raises Unauthenticated if the credential is invalid."""

    def describe(self) -> Mapping[str, Json]:
        """The security scheme object for OpenAPI 3.1 (§4.8.27)."""


def check_scope(text: str) -> None:
    """Raises ValueError if a text is not a scope (RFC 6749 §3.3). Its text says what a scope is."""
    if not _SCOPE.fullmatch(text):
        raise ValueError("a scope is 1 to 128 printable ASCII characters without blanks, quotes and backslashes")


def find_claim(claims: Mapping[str, Json], path: str) -> Json:
    """The claim of this name, else the claim at this path: `realm.tenant` is `tenant` in `realm`. None if there is no
    such claim."""
    if path in claims:
        return claims[path]
    found: Json = dict(claims)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def weigh(identity: Identity) -> int:
    """The bytes of memory of an identity, about. A claim may take many times more than its text: `[[],[]]` takes twenty
    times more."""
    total = OVERHEAD
    waiting: list[Json] = [dict(identity.claims)]
    while waiting:
        value = waiting.pop()
        total += sys.getsizeof(value)
        if isinstance(value, dict):
            waiting += value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return total
