"""The issuer of tokens for development: `nats-http dev` makes its keys, and `nats-http token` signs with them.

Laws:
1. Only `nats-http dev` accepts such a token. `nats-http explain` accepts it too, and says so. Nothing else reads the
   file.
2. The keys are in a file that only its owner can read.

The library for signing takes 13 MB. It is loaded only if a route file has a scheme of tokens.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..edge.key_sets import DEVELOPMENT_KID, FAMILIES, IssuerKey
from ..formats.schemas import Json
from ..routefile.auth import SchemeSource
from ..routefile.bearer import JwtModel
from ..settings import find_state_folder
from .endings import CommandError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

_NAME = "development-keys.pem"
_EC, _RSA = FAMILIES["EC", "P-256"], FAMILIES["RSA", ""]
_END = b"-----END PRIVATE KEY-----\n"


def find_path() -> Path:
    """The path of the file with the keys."""
    return find_state_folder() / _NAME


def make_keys(path: Path) -> None:
    """Make the file unless it exists. It is always complete, even if two processes make it at once."""
    if path.exists():
        return
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    keys = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    written = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in keys]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # only its owner can read it
            file.write(b"".join(written))
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    except OSError as error:
        raise CommandError(f"{path}: keys for development can't be written: {error.strerror}") from None


def read_keys(path: Path) -> tuple["ec.EllipticCurvePrivateKey", "rsa.RSAPrivateKey"]:
    """The private keys in this file. Raises CommandError."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as file:
            state, data = os.fstat(file.fileno()), file.read(64 * 1024)
        if state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise CommandError(f"{path}: others can read these keys: remove the file, and start `nats-http dev` again")
        first, second, _ = data.split(_END)
        curve, modulus = (load_pem_private_key(part + _END, None) for part in (first, second))
    except FileNotFoundError:
        raise CommandError("there is no key for development yet: start `nats-http dev` with this route file") from None
    except (OSError, ValueError):
        raise CommandError(f"{path}: it has no valid keys: remove the file, and start `nats-http dev` again") from None
    assert isinstance(curve, ec.EllipticCurvePrivateKey)  # noqa: S101 - `make_keys` writes them so
    assert isinstance(modulus, rsa.RSAPrivateKey)  # noqa: S101
    return curve, modulus


def load_development_keys() -> tuple[IssuerKey, ...]:
    """The public keys. They are made if there are none. Raises CommandError."""
    make_keys(find_path())
    return find_development_keys()


def find_development_keys() -> tuple[IssuerKey, ...]:
    """The public keys. Empty if `nats-http dev` has made none yet. Raises CommandError."""
    path = find_path()
    if not path.exists():
        return ()
    curve, modulus = read_keys(path)
    return (
        IssuerKey(DEVELOPMENT_KID, frozenset(_EC), curve.public_key()),
        IssuerKey(DEVELOPMENT_KID, frozenset(_RSA), modulus.public_key()),
    )


def choose_scheme(file: Path, sources: Sequence[SchemeSource], name: str | None) -> JwtModel:
    """The scheme of tokens with this name in the route file, or the only one. Raises CommandError."""
    found = {source.name: source for source in sources if source.declared.get("type") == "jwt"}
    if not found:
        raise CommandError(f"{file}: it has no scheme of the type jwt, such as `auth: {{users: {{type: jwt, …}}}}`")
    known = ", ".join(found)
    if name is None and len(found) > 1:
        raise CommandError(f"{file}: it has several schemes of the type jwt, {known}: choose one with --scheme")
    source = found.get(name) if name else next(iter(found.values()))
    if source is None:
        raise CommandError(f"--scheme {name}: {file} has no scheme of the type jwt with this name; it has {known}")
    return JwtModel.model_validate(source.declared)


def sign(
    model: JwtModel, *, subject: str, scopes: Sequence[str], claims: Mapping[str, Json], lifetime: float, path: Path
) -> str:
    """A token that this scheme accepts under `nats-http dev`. Raises CommandError."""
    import jwt

    algorithm = next((name for name in (*_EC, *_RSA) if name in model.allowed), None)
    if algorithm is None:
        asked = " or ".join(sorted(model.allowed))
        raise CommandError(f"the keys for development can't sign {asked}: allow ES256 or RS256")
    curve, modulus = read_keys(path)
    now = int(time.time())
    granted: dict[str, Json] = {}
    if scopes:
        granted = {model.scopes_claim: list(scopes)} if model.scopes_claim else {"scope": " ".join(scopes)}
    about = {"iss": model.issuer, "aud": model.audience[0], "sub": subject, "iat": now, "exp": now + int(lifetime)}
    key = curve if algorithm in _EC else modulus
    try:
        return jwt.encode({**about, **granted, **claims}, key, algorithm, headers={"kid": DEVELOPMENT_KID})
    except TypeError as error:
        raise CommandError(f"no token can have these claims: {error}") from None
