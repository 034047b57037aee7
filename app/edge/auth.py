"""`auth` of a route: who may call it. Pure.

Laws:
1. One valid credential is enough. Another credential of the same request may be invalid.
2. An unknown caller gets 401. A known caller without a required scope or claim gets 403. Neither learns which keys or
   tokens exist.
3. The challenges of a 401 are those of all schemes of the route, in their order.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from ..errors import Forbidden, GatewayError, Headers, KeysUnavailable, Unauthenticated
from ..formats.schemas import Json
from .identity import AsyncIdentify, Identity, Scheme, find_claim
from .policy import AsyncCheck
from .request import Request

Claims = Mapping[str, Sequence[Json]]
"""The allowed values of each claim, by the name of the claim. The caller must have one of the values."""

_BEARER = "Bearer "


class Authenticate:
    """Lets a request pass if one of the `schemes` (by name) knows its caller, and if the caller has all `scopes` and
    `claims`. Sets the identity of the request."""

    def __init__(
        self, schemes: Mapping[str, Scheme], *, scopes: Sequence[str] = (), claims: Claims | None = None
    ) -> None:
        self.schemes = schemes
        self.scopes = tuple(scopes)
        self.fields = frozenset[bytes]().union(*(scheme.fields for scheme in schemes.values()))
        self.queries = tuple(scheme.query for scheme in schemes.values() if scheme.query is not None)
        """The names of the query parameters that may contain credentials."""
        self._order = tuple(schemes.values())
        self._needed = frozenset(scopes)
        self.claims: Claims = dict(claims or {})
        self._is_simple = not self._needed and not self.claims
        self.errors: tuple[type[GatewayError], ...] = (
            (Unauthenticated,) if self._is_simple else (Unauthenticated, Forbidden)
        )

    def check(self, request: Request) -> AsyncCheck | None:
        """As Policy.check. Raises Unauthenticated or Forbidden. The AsyncCheck that it may return raises these, or
        KeysUnavailable."""
        waits: tuple[AsyncIdentify, ...] = ()
        wrong: tuple[Unauthenticated, ...] = ()
        for scheme in self._order:
            try:
                found = scheme.identify(request)
            except Unauthenticated as error:
                wrong = (*wrong, error)
                continue
            if isinstance(found, Identity):
                request.identity = found
                if not self._is_simple:
                    self._admit(found)
                return None
            if found is not None:
                waits = (*waits, found)
        if not waits:
            raise self._refuse(wrong)
        return partial(self._wait, request, waits, list(wrong))

    async def _wait(self, request: Request, waits: Sequence[AsyncIdentify], wrong: list[Unauthenticated]) -> None:
        unavailable: KeysUnavailable | None = None
        for identify in waits:
            try:
                identity = await identify()
            except Unauthenticated as error:
                wrong.append(error)
            except KeysUnavailable as error:
                unavailable = error
            else:
                request.identity = identity
                self._admit(identity)
                return
        raise unavailable or self._refuse(wrong)

    def _refuse(self, wrong: Sequence[Unauthenticated]) -> Unauthenticated:
        """The 401 for a request. If a credential was invalid, its detail says so. If that error has a challenge of its
        own, it replaces the challenge of its scheme."""
        first = wrong[0] if wrong else None
        own = {_read_scheme(error.challenge): error.challenge for error in wrong if error.challenge}
        challenges = (scheme.challenge for scheme in self._order if scheme.challenge)
        written = dict.fromkeys(own.get(_read_scheme(challenge), challenge) for challenge in challenges)
        headers: Headers = tuple((b"www-authenticate", challenge.encode("ascii")) for challenge in written)
        refused = Unauthenticated(first.detail if first else None, headers=headers)
        if first:
            refused.facts = first.facts
        return refused

    def _admit(self, identity: Identity) -> None:
        """Raises Forbidden if the caller lacks a scope or a claim."""
        if not self._needed <= identity.scopes:
            missing = " ".join(scope for scope in self.scopes if scope not in identity.scopes)
            raise Forbidden(
                f"The caller lacks a scope that this route asks for: {missing}.", headers=self._ask(identity)
            )
        for name, values in self.claims.items():
            if not _has_one(find_claim(identity.claims, name), values):
                raise Forbidden(f"The caller lacks a claim that this route asks for: {name}.")

    def _ask(self, identity: Identity) -> Headers:
        """The challenge that names the scopes that a token must have (RFC 6750 §3.1)."""
        challenge = self.schemes[identity.scheme].challenge
        if not challenge.startswith(_BEARER):
            return ()
        text = f'{challenge}, error="insufficient_scope", scope="{" ".join(self.scopes)}"'
        return ((b"www-authenticate", text.encode("ascii")),)

    @property
    def security(self) -> list[Json]:
        """The security requirement for OpenAPI 3.1 (§4.8.30): one of the schemes, with all scopes."""
        return [{name: list(self.scopes)} for name in self.schemes]


def _read_scheme(challenge: str) -> str:
    """The part of a challenge that identifies its scheme: everything before its error."""
    return challenge.partition(", error=")[0]


def _has_one(claim: Json, values: Sequence[Json]) -> bool:
    """Whether a claim, or an item of it, equals one of these values. Types must be the same: `true` is not 1."""
    items = claim if isinstance(claim, list) else [claim]
    return any(type(item) is type(value) and item == value for item in items for value in values)
