"""The keys of an issuer of tokens, as they are at a moment. Pure: `app.jwks` fetches them.

Laws:
1. A key is used only with algorithms of its own family, so that nobody signs with a public key as if it were a secret.
2. The keys stay until others take their place.
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
"""By type and curve of a key, the algorithms that it is for."""

SYMMETRIC: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms of secrets, and how many bytes those have at least (RFC 7518 §3.2)."""
ASYMMETRIC = tuple(algorithm for family in FAMILIES.values() for algorithm in family)


DEVELOPMENT_KID = "nats-http-dev"
"""The id of keys for development."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One key, its id in the set, and what it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any = field(repr=False)


class KeySet:
    """The keys of one issuer. `url` is where they are fetched, None where they never change. `fetch` has them fetched
    for a key id that is not known, and returns when that is over. `has_failed` says that the last fetch did.
    `generation` grows with each change of the keys. `development` are keys that count beside them under `nats-http
    dev`, and nowhere else."""

    def __init__(self, keys: tuple[IssuerKey, ...] = (), *, url: str | None = None) -> None:
        self.url = url
        self.keys = keys
        self.generation = 0
        self.has_failed = False
        self.fetch: Callable[[], Awaitable[None]] | None = None
        self.development: tuple[IssuerKey, ...] = ()

    def replace(self, keys: tuple[IssuerKey, ...]) -> None:
        """Go by these from now on."""
        self.keys = keys
        self.generation += 1

    def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The key of this id; without an id, the only one for this algorithm. A set of one key without an id has it for
        every id."""
        if kid == DEVELOPMENT_KID and self.development:
            return next((key for key in self.development if algorithm in key.algorithms), None)
        if kid is None or (len(self.keys) == 1 and self.keys[0].kid is None):
            fitting = [key for key in self.keys if algorithm in key.algorithms]
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in self.keys if key.kid == kid and algorithm in key.algorithms), None)
