"""`auth` on a route: who may call it. Pure.

Laws:
1. A credential that is right is enough: another one of the same request may be wrong.
2. Who is not known gets 401, and who is known and may not 403; neither learns which keys or tokens exist.
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
"""By the name of a claim the values of which it must have one."""

_BEARER = "Bearer "


class Authenticate:
    """Lets a request pass whose caller one of the `schemes`, by their names, knows, and who has all `scopes` and
    `claims`. It notes the identity in the request."""

    def __init__(
        self, schemes: Mapping[str, Scheme], *, scopes: Sequence[str] = (), claims: Claims | None = None
    ) -> None:
        self.schemes = schemes
        self.scopes = tuple(scopes)
        self.fields = frozenset[bytes]().union(*(scheme.fields for scheme in schemes.values()))
        self.queries = tuple(scheme.query for scheme in schemes.values() if scheme.query is not None)
        """The query parameters that credentials come in."""
        self._order = tuple(schemes.values())
        self._needed = frozenset(scopes)
        self.claims: Claims = dict(claims or {})
        self._is_simple = not self._needed and not self.claims
        self.errors: tuple[type[GatewayError], ...] = (
            (Unauthenticated,) if self._is_simple else (Unauthenticated, Forbidden)
        )

    def check(self, request: Request) -> AsyncCheck | None:
        """As Policy.check. Raises Unauthenticated or Forbidden; what it returns may raise KeysUnavailable as well."""
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
        """Where one credential is wrong, the answer says so; a challenge of its own takes the place of its scheme's."""
        told = wrong[0] if wrong else None
        own = {_read_scheme(error.challenge): error.challenge for error in wrong if error.challenge}
        challenges = (scheme.challenge for scheme in self._order if scheme.challenge)
        written = dict.fromkeys(own.get(_read_scheme(challenge), challenge) for challenge in challenges)
        headers: Headers = tuple((b"www-authenticate", challenge.encode("ascii")) for challenge in written)
        refused = Unauthenticated(told.detail if told else None, headers=headers)
        if told:
            refused.facts = told.facts
        return refused

    def _admit(self, identity: Identity) -> None:
        """Raises Forbidden."""
        if not self._needed <= identity.scopes:
            missing = " ".join(scope for scope in self.scopes if scope not in identity.scopes)
            raise Forbidden(
                f"The caller lacks a scope that this route asks for: {missing}.", headers=self._ask(identity)
            )
        for name, values in self.claims.items():
            if not _has_one(find_claim(identity.claims, name), values):
                raise Forbidden(f"The caller lacks a claim that this route asks for: {name}.")

    def _ask(self, identity: Identity) -> Headers:
        """RFC 6750 §3.1: which scopes a token has to have."""
        challenge = self.schemes[identity.scheme].challenge
        if not challenge.startswith(_BEARER):
            return ()
        text = f'{challenge}, error="insufficient_scope", scope="{" ".join(self.scopes)}"'
        return ((b"www-authenticate", text.encode("ascii")),)

    @property
    def security(self) -> list[Json]:
        """The security requirement of OpenAPI 3.1 (§4.8.30): one of the schemes, with all scopes."""
        return [{name: list(self.scopes)} for name in self.schemes]


def _read_scheme(challenge: str) -> str:
    """What a challenge is of: everything up to its error."""
    return challenge.partition(", error=")[0]


def _has_one(claim: Json, values: Sequence[Json]) -> bool:
    """Whether a claim, or an item of it, is one of these values. `true` is not 1 here."""
    items = claim if isinstance(claim, list) else [claim]
    return any(type(item) is type(value) and item == value for item in items for value in values)
