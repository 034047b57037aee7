"""What callers prove themselves with, and the files by which the gateway knows them.

Each file of credentials has header fields, one on a line, that requests send in turn.
"""

import json
import time
import uuid
from collections.abc import Container
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from app.edge.api_keys import digest_key, make_key
from app.edge.bearer import MAX_REMEMBERED

ISSUER, AUDIENCE = "https://id.example.com", "orders"
NEW = "new-tokens"
NEW_TOKENS = MAX_REMEMBERED + 2000
"""So many that each is forgotten when its turn comes again."""
LIFETIME = 24 * 3600  # seconds


def write_credentials(folder: Path, wanted: Container[str]) -> None:
    """The files that the routes name, `keys.yaml` and `jwks.json`, and those of the callers: `api-key`, `token`, and
    where it is wanted, because it takes long, `new-tokens`."""
    key, signer = make_key(), rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = {"version": 1, "keys": [{"name": "partner", "sha256": digest_key(key.encode("ascii"))}]}
    (folder / "keys.yaml").write_text(json.dumps(known))
    public = RSAAlgorithm.to_jwk(signer.public_key(), as_dict=True)
    (folder / "jwks.json").write_text(json.dumps({"keys": [{**public, "kid": "bench"}]}))
    (folder / "api-key").write_text(f"X-API-Key: {key}\n")
    (folder / "token").write_text(_sign(signer))
    if NEW in wanted:
        with (folder / NEW).open("w") as file:
            file.writelines(_sign(signer) for _ in range(NEW_TOKENS))


def _sign(signer: rsa.RSAPrivateKey) -> str:
    """A field with the claims of a usual access token (RFC 9068), which no other has."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "sue", "iat": now, "exp": now + LIFETIME, "jti": str(uuid.uuid4())}
    token = jwt.encode({**claims, "scope": "orders:read orders:write"}, signer, "RS256", headers={"kid": "bench"})
    return f"Authorization: Bearer {token}\n"
