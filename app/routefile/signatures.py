"""The keys of `signature` in a route file, and the file with the secrets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from ..edge.signature import Encoding, Signature
from ..formats.fields import is_token
from ..formats.schemas import Json
from .faults import RouteFileError
from .strict import StrictModel, check_with

MIN_SECRET = 16  # bytes
MAX_SECRETS = 3

Secrets = Mapping[str, Sequence[str]]
"""The secrets of each file, by the name of the file."""


def _check_name(name: str) -> None:
    if not is_token(name):
        raise ValueError("must be the name of a header")


class SignatureModel(StrictModel):
    """How senders sign bodies."""

    header: Annotated[str, check_with(_check_name)] = Field(
        description="The header with the HMAC-SHA256 of the body, such as `X-Hub-Signature-256`."
    )
    secret_file: Annotated[str, Field(min_length=1)] = Field(
        description="A file with the secret, relative to the folder of the route file. With several lines, "
        "each is a valid secret: at most 3."
    )
    encoding: Encoding = Field("hex", description="`hex`, also after `sha256=`, or `base64`.")


def read_secrets(data: bytes) -> list[str]:
    """The secrets in a file. Raises ValueError, whose text contains no secret."""
    try:
        secrets = [line for line in data.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise ValueError(f"it must have 1 to {MAX_SECRETS} secrets, each in a line of its own")
    if any(len(secret.encode()) < MIN_SECRET for secret in secrets):
        raise ValueError(f"a secret has at least {MIN_SECRET} bytes; `openssl rand -hex 32` makes one")
    return secrets


class SecretReader:
    """Reads each file of secrets once. `by_file` has the secrets of the valid files."""

    def __init__(self, read_file: Callable[[str], bytes]) -> None:
        """`read_file` raises RouteFileError."""
        self._read_file = read_file
        self.by_file: dict[str, Sequence[str]] = {}

    def find_faults(self, model: SignatureModel | None) -> Iterator[tuple[tuple[str, ...], str]]:
        """Read the file of secrets of a route, if it has one. Each fault has its key and a text."""
        if model is None or model.secret_file in self.by_file:
            return
        try:
            self.by_file[model.secret_file] = read_secrets(self._read_file(model.secret_file))
        except RouteFileError as error:
            yield from ((("secret_file",), fault) for fault in error.faults)
        except ValueError as error:
            yield ("secret_file",), str(error)


def move_secret(declared: dict[str, Json], move: Callable[[Json], Json]) -> dict[str, Json]:
    """A route, or `defaults`, with `move` applied to the name of its file of secrets."""
    rules = declared.get("signature")
    if not isinstance(rules, dict) or "secret_file" not in rules:
        return declared
    return {**declared, "signature": {**rules, "secret_file": move(rules["secret_file"])}}


def make_signature(model: SignatureModel | None, secrets: Secrets) -> Iterator[Signature]:
    """The policy of a route, if it has `signature`."""
    if model is not None:
        texts = secrets[model.secret_file]
        yield Signature(model.header, [text.encode() for text in texts], model.encoding)
