"""Who a caller is, and what finds it out: a scheme of `auth`. Pure."""

import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..formats.schemas import Json

if TYPE_CHECKING:
    from .request import Request


OVERHEAD = 512
"""Bytes that an identity takes beside its claims, about."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749 §3.3, scope-token


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is: `scheme` is the name, under `auth`, of what has found it out."""

    scheme: str
    subject: str
    scopes: frozenset[str]
    claims: Mapping[str, Json]


AsyncIdentify = Callable[[], Awaitable[Identity]]
"""An identity that needs something from elsewhere. Raises Unauthenticated."""


class Scheme(Protocol):
    """One way in which callers say who they are. `fields` are the names, in lower case, of the request header fields
    that it looks at; `query` is the query parameter, if it looks at one. `challenge` is for `WWW-Authenticate`
    (RFC 9110 §11.6.1), empty where the scheme has none."""

    @property
    def fields(self) -> frozenset[bytes]: ...

    @property
    def query(self) -> str | None: ...

    @property
    def challenge(self) -> str: ...

    def identify(self, request: "Request") -> "Identity | AsyncIdentify | None":
        """Who sends the request; None where it has no credential of this kind. Raises Unauthenticated where it has one
        that is wrong."""

    def describe(self) -> Mapping[str, Json]:
        """The security scheme of OpenAPI 3.1 (§4.8.27)."""


def check_scope(text: str) -> None:
    """ValueError says what a scope is."""
    if not _SCOPE.fullmatch(text):
        raise ValueError("a scope is 1 to 128 printable ASCII characters without blanks, quotes and backslashes")


def find_claim(claims: Mapping[str, Json], path: str) -> Json:
    """The claim of this name, or the one that the path leads to, such as `realm.tenant`; None if there is none."""
    if path in claims:
        return claims[path]
    found: Json = dict(claims)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def weigh(identity: Identity) -> int:
    """Bytes of memory that it takes, about. A claim may take many times more than its text: twenty for `[[],[]]`."""
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
