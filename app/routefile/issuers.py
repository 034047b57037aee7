"""From a scheme of signed tokens, as it is declared, to the scheme that verifies them. Loaded where a file has one."""

import base64
from collections.abc import Sequence
from contextlib import suppress

from ..edge.bearer import BearerTokens, TokenRules
from ..edge.jwk import has_private_key, make_secret, read_keys
from ..edge.key_sets import SYMMETRIC, KeySet
from ..formats.schemas import Json, parse_json
from .bearer import LEEWAY, JwtModel


def read_issuer_file(model: JwtModel, data: bytes) -> list[Json]:
    """What is in the file of a scheme, as `build_bearer` takes it. ValueError says what is wrong with it."""
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
        raise ValueError(f"it is not JSON, and so no JWK set: {_EXAMPLE}") from None
    if has_private_key(document):
        raise ValueError("it has a private key or a secret: only public keys belong here")
    found = frozenset[str]().union(*(key.algorithms for key in read_keys(document)))
    if not found & model.allowed:
        allowed = ", ".join(sorted(model.allowed))
        raise ValueError(f"its keys are for {', '.join(sorted(found))}, and not for `algorithms`: {allowed}")
    return [document]


_EXAMPLE = '{"keys": [{"kty": "RSA", "kid": …, "n": …, "e": …}]}'


def _check_secret(secret: bytes) -> None:
    """ValueError for what everybody may know: a JWK set, or a public key. With it anybody could sign."""
    kind = "PEM" if secret.lstrip().startswith(b"-----BEGIN ") else ""
    with suppress(ValueError):
        kind = "JSON" if isinstance(parse_json(secret), dict | list) else kind
    if kind:
        raise ValueError(
            f"it is {kind}, and no secret: public keys belong in `jwks_file`; `openssl rand -hex 32` makes one"
        )


def build_bearer(name: str, model: JwtModel, entries: Sequence[Json]) -> BearerTokens:
    """The scheme of a model that has been checked, with what its file has."""
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
