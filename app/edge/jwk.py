"""Reads keys: JWK sets (RFC 7517), and secrets. Pure.

Law: only the public keys of a set are kept, and only keys for signatures.

The libraries of this module take 13 MB. It is only imported if a route file has a scheme of tokens.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ..formats.schemas import Json
from .key_sets import FAMILIES, SYMMETRIC, IssuerKey

MAX_KEYS = 100  # of a set; any others are ignored
MIN_RSA_BITS = 2048

_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


def make_secret(secret: bytes) -> tuple[IssuerKey, ...]:
    """The key for a secret that the gateway shares with the issuer. It may verify the algorithms for which it is long
    enough."""
    algorithms = frozenset(name for name, least in SYMMETRIC.items() if len(secret) >= least)
    return (IssuerKey(None, algorithms, secret),)


def read_keys(document: Json) -> tuple[IssuerKey, ...]:
    """The usable keys of a JWK set. Raises ValueError if it has none; the text says why."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a JWK set: an object with a list `keys`")
    keys = tuple(key for jwk in listed[:MAX_KEYS] if isinstance(jwk, dict) and (key := _read_key(jwk)))
    if not keys:
        raise ValueError("it has no usable public key: RSA of 2048 bits or more, an NIST curve, Ed25519")
    return keys


def _read_key(jwk: Mapping[str, Json]) -> IssuerKey | None:
    """The key of one JWK; None if it is not a usable key for signatures."""
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
    """Whether a JWK set contains a private or a secret key."""
    listed = document.get("keys") if isinstance(document, dict) else None
    return isinstance(listed, list) and any(isinstance(jwk, dict) and ("d" in jwk or "k" in jwk) for jwk in listed)
