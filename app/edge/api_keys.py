"""API keys: how they are written, and whose they are. Pure.

Laws:
1. Only the SHA-256 digest of a key is kept. To look it up takes the same time whichever key is nearly right.
2. A request with two keys, or with one that is too long, is refused: nobody guesses which one is meant.
"""

import re
import secrets
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ..errors import Unauthenticated
from ..formats.schemas import Json
from .credentials import Place, SeveralCredentials, find_credential
from .identity import Identity
from .request import Request

PREFIX = "nhg_"
"""What a key begins with, so that scanners for secrets find it."""
FOREVER = float("inf")
"""When a key expires that never does."""
MAX_KEY = 512  # bytes of a key in a request

_BITS = 256
_LENGTH = 43  # digits of base 62 for as many bits
_CHECKSUM = 6  # digits of base 62 for 32 bits
_KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]+")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key() -> str:
    """A new key of 256 random bits. Its last six characters are the CRC-32 of those before, as in GitHub's tokens: a
    scanner knows without asking whether a text is a key."""
    body = PREFIX + _write_number(secrets.randbits(_BITS), _LENGTH)
    return body + _write_number(zlib.crc32(body.encode("ascii")), _CHECKSUM)


def digest_key(key: bytes) -> str:
    """What a key is known by: its SHA-256 in hexadecimal digits."""
    return sha256(key).hexdigest()


def hide_keys(text: str) -> str:
    """The same text, without the keys in it that `make_key` has made."""
    return _KEY.sub(f"{PREFIX}…", text)


def _write_number(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known, and the Unix time at which it expires."""

    identity: Identity
    expires: float


class ApiKeys:
    """The keys of one scheme, by their digests: the bytes of SHA-256."""

    def __init__(
        self, keys: Mapping[bytes, Key], *, place: Place, name: str, realm: str, description: str = ""
    ) -> None:
        self._keys = keys
        self._place: Place = place
        self._name = name
        self._wanted = (name.lower() if place == "header" else name).encode("ascii")
        self._description = description
        header = {"header": self._wanted, "cookie": b"cookie"}.get(place)
        self.fields = frozenset((header,) if header else ())
        self.query = name if place == "query" else None
        self.challenge = f'ApiKey realm="{realm}", in="{place}", name="{name}"'

    def identify(self, request: Request) -> Identity | None:
        """As Scheme.identify. It never has to be waited for."""
        try:
            value = find_credential(self._place, self._wanted, request)
        except SeveralCredentials:
            raise Unauthenticated("The request has more than one API key.") from None
        if value is None:
            return None
        key = self._keys.get(sha256(value).digest()) if len(value) <= MAX_KEY else None
        if key is None:
            raise Unauthenticated("The API key is not valid.")
        if key.expires != FOREVER and key.expires <= time.time():
            raise Unauthenticated("The API key has expired.")
        return key.identity

    def describe(self) -> Mapping[str, Json]:
        told = {"description": self._description} if self._description else {}
        return {"type": "apiKey", "in": self._place, "name": self._name, **told}
