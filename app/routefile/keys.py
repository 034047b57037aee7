"""Files of API keys. They have names and digests, and never the keys themselves. The reference is
docs/authentication.md.

Law: no error shows the value of a digest, since it may be a key that was put there by mistake.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from ..edge.api_keys import FOREVER, Key, digest_key
from ..edge.identity import Identity
from ..formats.schemas import Json
from .names import Scope
from .strict import StrictModel, check_with

MAX_KEYS = 100_000  # in one file

_DIGEST = re.compile(r"[0-9a-f]{64}")
_OF_NOTHING = digest_key(b"")  # a shell script makes this digest from an unset variable
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,128}")


def check_key_name(text: str) -> None:
    """Raises ValueError if a key can't have this name. Its text says which names are allowed."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name is 1 to 128 of letters, digits, `.`, `_`, `@` and `-`")


def _check_digest(text: str) -> None:
    if not _DIGEST.fullmatch(text):
        raise ValueError(
            "must be the SHA-256 of a key, 64 hexadecimal digits in lower case; `nats-http keys add` makes it"
        )
    if text == _OF_NOTHING:
        raise ValueError("this is the SHA-256 of an empty text: an empty key would be valid")


def parse_expiry(text: str) -> float:
    """The Unix time of a date, which means its beginning in UTC, or of a time with its zone. Raises ValueError, whose
    text says how to write it."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    is_date = instant is not None and len(text) == len("2027-01-01")
    if instant is None or (instant.tzinfo is None and not is_date):
        raise ValueError("must be a date such as 2027-01-31, or a time with its zone such as 2027-01-31T12:00:00Z")
    return (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).timestamp()


def has_expired(expires: Json, now: float) -> bool:
    """Whether a key has expired at this Unix time. `expires` is its checked value, or None."""
    return isinstance(expires, str) and parse_expiry(expires) <= now


class KeyModel(StrictModel):
    """One API key."""

    name: Annotated[str, check_with(check_key_name)] = Field(description="The name of its holder.")
    sha256: Annotated[str, check_with(_check_digest)] = Field(description="The SHA-256 of the key.")
    scopes: list[Scope] = Field([], description="The scopes of its holder.")
    claims: dict[str, Any] = Field({}, description="Other facts about its holder.")
    expires: Annotated[str, check_with(parse_expiry)] | None = Field(None, description="When it expires.")


class KeyFileModel(StrictModel):
    """A file of keys."""

    version: Literal[1] = Field(description="The version of this format.")
    keys: list[KeyModel] | None = Field(None, description="The keys.")


def find_key_faults(keys: Sequence[KeyModel]) -> Iterator[tuple[int, str]]:
    """Faults of the list as a whole: names or digests that occur twice, and too many keys. Each has the index of the
    key, and a text."""
    if len(keys) > MAX_KEYS:
        yield MAX_KEYS, f"there are more than {MAX_KEYS} keys"
    names: set[str] = set()
    digests: set[str] = set()
    for index, key in enumerate(keys):
        if key.name in names:
            yield index, f"two keys have the name '{key.name}'"
        if key.sha256 in digests:
            yield index, "this key is in the file already"
        names.add(key.name)
        digests.add(key.sha256)


def read_key(entry: Json, scheme: str) -> tuple[bytes, Key]:
    """The digest of a checked key (32 bytes of SHA-256), and the key as the scheme of this name knows it."""
    model = KeyModel.model_validate(entry)
    claims = {**model.claims, "sub": model.name, "scope": " ".join(model.scopes)}
    identity = Identity(scheme, model.name, frozenset(model.scopes), claims)
    return bytes.fromhex(model.sha256), Key(identity, parse_expiry(model.expires) if model.expires else FOREVER)
