"""The keys of an issuer of tokens. Pure: `app.jwks` fetches them.

Laws:
1. A key is used only with algorithms of its own family, so that nobody signs with a public key as if it were a secret.
2. Only public keys are kept of a JWK set (RFC 7517), and no symmetric ones.
3. The keys stay until others take their place.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ..formats.schemas import Json

MAX_KEYS = 100  # of a set that are looked at
MIN_RSA_BITS = 2048

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FAMILIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""By type and curve of a key, the algorithms that it is for."""
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")

SYMMETRIC: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms of secrets, and how many bytes those have at least (RFC 7518 §3.2)."""
ASYMMETRIC = tuple(algorithm for family in _FAMILIES.values() for algorithm in family)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One key, its id in the set, and what it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any = field(repr=False)


class KeySet:
    """The keys of one issuer. `url` is where they are fetched, None where they never change. `fetch` has them fetched
    for a key id that is not known, and returns when that is over. `has_failed` says that the last fetch did.
    `generation` grows with each change of the keys."""

    def __init__(self, keys: tuple[IssuerKey, ...] = (), *, url: str | None = None) -> None:
        self.url = url
        self.keys = keys
        self.generation = 0
        self.has_failed = False
        self.fetch: Callable[[], Awaitable[None]] | None = None

    def replace(self, keys: tuple[IssuerKey, ...]) -> None:
        """Go by these from now on."""
        self.keys = keys
        self.generation += 1

    def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The key of this id; without an id, the only one for this algorithm. A set of one key without an id has it for
        every id."""
        if kid is None or (len(self.keys) == 1 and self.keys[0].kid is None):
            fitting = [key for key in self.keys if algorithm in key.algorithms]
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in self.keys if key.kid == kid and algorithm in key.algorithms), None)


def make_secret(secret: bytes) -> tuple[IssuerKey, ...]:
    """A secret that the gateway shares with the issuer, for the algorithms that it is long enough for."""
    algorithms = frozenset(name for name, least in SYMMETRIC.items() if len(secret) >= least)
    return (IssuerKey(None, algorithms, secret),)


def read_keys(document: Json) -> tuple[IssuerKey, ...]:
    """The keys of a JWK set that can be used. ValueError says why it has none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no JWK set: an object with a list `keys`")
    keys = tuple(key for jwk in listed[:MAX_KEYS] if isinstance(jwk, dict) and (key := _read_key(jwk)))
    if not keys:
        raise ValueError("it has no public key that can be used: RSA of 2048 bits or more, an NIST curve, Ed25519")
    return keys


def _read_key(jwk: Mapping[str, Json]) -> IssuerKey | None:
    """A key for signatures; None for any other."""
    operations = jwk.get("key_ops")
    if jwk.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    kind, curve = jwk.get("kty"), jwk.get("crv", "")
    family = _FAMILIES.get((kind, curve), ()) if isinstance(kind, str) and isinstance(curve, str) else ()
    algorithms = frozenset(family).intersection([jwk["alg"]] if isinstance(jwk.get("alg"), str) else family)
    kid = jwk.get("kid")
    if not algorithms or not (kid is None or isinstance(kid, str)):
        return None
    try:
        key = PyJWK({name: jwk[name] for name in _PUBLIC if name in jwk}, family[0]).key
    except (PyJWTError, ValueError, TypeError, OverflowError):
        return None
    return None if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS else IssuerKey(kid, algorithms, key)


def has_private_key(document: Json) -> bool:
    """Whether a JWK set has a private or a secret key."""
    listed = document.get("keys") if isinstance(document, dict) else None
    return isinstance(listed, list) and any(isinstance(jwk, dict) and ("d" in jwk or "k" in jwk) for jwk in listed)
