"""Makes the scheme that verifies signed tokens from its declaration. Imported only if a file has such a scheme."""

import base64
from collections.abc import Sequence
from contextlib import suppress

from ..edge.bearer import BearerTokens, TokenRules
from ..edge.jwk import has_private_key, make_secret, read_keys
from ..edge.key_sets import SYMMETRIC, KeySet
from ..formats.schemas import Json, parse_json
from .bearer import LEEWAY, JwtModel


def read_issuer_file(model: JwtModel, data: bytes) -> list[Json]:
    """Check the file of a scheme, and return its contents in the form that `build_bearer` takes. Raises ValueError,
    whose text says what is wrong."""
    if model.secret_file is not None:
        secret = data.rstrip(b"\r\n")
        _check_secret(secret)
        least = max(SYMMETRIC[name] for name in model.allowed)
        if len(secret) < least:
            raise ValueError(f"the secret has less than {least} bytes")
        return [base64.b64encode(secret).decode("ascii")]
    try:
        document = parse_json(data)
    except ValueError:
        raise ValueError(f"it is not JSON, so it is not a JWK set: {_EXAMPLE}") from None
    if has_private_key(document):
        raise ValueError("it has a private key or a secret: only public keys belong here")
    found = frozenset[str]().union(*(key.algorithms for key in read_keys(document)))
    if not found & model.allowed:
        allowed = ", ".join(sorted(model.allowed))
        raise ValueError(f"its keys are for {', '.join(sorted(found))}, but `algorithms` allows only {allowed}")
    return [document]


_EXAMPLE = '{"keys": [{"kty": "RSA", "kid": …, "n": …, "e": …}]}'


def _check_secret(secret: bytes) -> None:
    """Raises ValueError for JSON (a JWK set) and PEM (a public key). These may be public, and then anybody could sign
    tokens."""
    kind = "PEM" if secret.lstrip().startswith(b"-----BEGIN ") else ""
    with suppress(ValueError):
        kind = "JSON" if isinstance(parse_json(secret), dict | list) else kind
    if kind:
        raise ValueError(
            f"it is {kind}, not a secret: public keys belong in `jwks_file`; `openssl rand -hex 32` makes one"
        )


def build_bearer(name: str, model: JwtModel, entries: Sequence[Json]) -> BearerTokens:
    """The scheme of a checked model. `entries` has the contents of its file, from `read_issuer_file`."""
    rules = TokenRules(
        issuer=model.issuer,
        audience=tuple(model.audience),
        algorithms=model.allowed,
        leeway=LEEWAY if model.leeway is None else model.leeway,
        scopes_claim=model.scopes_claim,
        requires_expiry=model.requires_expiry,
    )
    found = [make_secret(base64.b64decode(e)) if isinstance(e, str) else read_keys(e) for e in entries]
    keys = KeySet(found[0] if found else (), url=model.jwks_url)
    return BearerTokens(name, rules, keys, header=model.header, cookie=model.cookie, description=model.description)
