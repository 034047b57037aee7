"""The current keys of an issuer of tokens. Pure: `app.jwks` fetches them.

Laws:
1. A key is used only with algorithms of its own family. So nobody can use a public key as a secret for a signature.
2. The keys stay until other keys replace them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
FAMILIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms that a key may verify, by its type and curve."""

SYMMETRIC: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms for secrets, and the least number of bytes of a secret (RFC 7518 §3.2)."""
ASYMMETRIC = tuple(algorithm for family in FAMILIES.values() for algorithm in family)


DEVELOPMENT_KID = "nats-http-dev"
"""The key id of development keys."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One key, its id in the set, and the algorithms that it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any = field(repr=False)


class KeySet:
    """The keys of one issuer. They are fetched from `url`; None means that they never change. Call `fetch` for an
    unknown key id: it returns when a fetch has ended, successful or not. `has_failed` says whether the last fetch
    failed. `generation` grows with each change of the keys. `development` has extra keys for `nats-http dev` only."""

    def __init__(self, keys: tuple[IssuerKey, ...] = (), *, url: str | None = None) -> None:
        self.url = url
        self.keys = keys
        self.generation = 0
        self.has_failed = False
        self.fetch: Callable[[], Awaitable[None]] | None = None
        self.development: tuple[IssuerKey, ...] = ()

    def replace(self, keys: tuple[IssuerKey, ...]) -> None:
        """Use these keys from now on, and no others."""
        self.keys = keys
        self.generation += 1

    def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The key with this id for this algorithm; without an id, the only key for this algorithm. If the set has a
        single key, and that has no id, it counts for every id. None if there is no such key."""
        if kid == DEVELOPMENT_KID and self.development:
            return next((key for key in self.development if algorithm in key.algorithms), None)
        if kid is None or (len(self.keys) == 1 and self.keys[0].kid is None):
            fitting = [key for key in self.keys if algorithm in key.algorithms]
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in self.keys if key.kid == kid and algorithm in key.algorithms), None)
