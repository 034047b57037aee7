"""Reads keys: JWK sets (RFC 7517), and secrets. Pure.

Law: of a set only public keys are kept, and only those for signatures.

What this needs takes 13 MB. It is loaded where a route file has a scheme of tokens.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ..formats.schemas import Json
from .key_sets import FAMILIES, SYMMETRIC, IssuerKey

MAX_KEYS = 100  # of a set that are looked at
MIN_RSA_BITS = 2048

_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


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
    family = FAMILIES.get((kind, curve), ()) if isinstance(kind, str) and isinstance(curve, str) else ()
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
