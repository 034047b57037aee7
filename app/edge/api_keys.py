"""API keys: their form, and their holders. Pure.

Laws:
1. The gateway knows only the SHA-256 digest of a key until a caller sends the key. A lookup takes the same time for
   every wrong key, however similar it is.
2. A request with two keys is refused: the gateway does not guess which one is meant. So is a key that is too long.
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
"""The beginning of every key, so that scanners for secrets find it."""
FOREVER = float("inf")
"""The expiry of a key that never expires."""
MAX_KEY = 512  # bytes of a key in a request; a longer one is refused

_BITS = 256
_LENGTH = 43  # digits of base 62 for as many bits
_CHECKSUM = 6  # digits of base 62 for 32 bits
_KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]+")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key() -> str:
    """A new key of 256 random bits. Its last six characters are the CRC-32 of the characters before them, as in
    GitHub's tokens. So a scanner can recognize a key without asking the gateway."""
    body = PREFIX + _write_number(secrets.randbits(_BITS), _LENGTH)
    return body + _write_number(zlib.crc32(body.encode("ascii")), _CHECKSUM)


def digest_key(key: bytes) -> str:
    """The SHA-256 of a key in hexadecimal digits. Files of keys have this digest."""
    return sha256(key).hexdigest()


def hide_keys(text: str) -> str:
    """The same text with `nhg_…` instead of each key that `make_key` has made."""
    return _KEY.sub(f"{PREFIX}…", text)


def _write_number(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


@dataclass(frozen=True, slots=True)
class Key:
    """The identity of the holder of a key, and the Unix time at which the key expires."""

    identity: Identity
    expires: float


class ApiKeys:
    """The keys of one scheme, by digest: the 32 bytes of SHA-256.

    A valid key is remembered as it was sent, so that its digest is computed only once. This takes no more memory than
    the keys themselves, and its lookup tells nothing about them. A dictionary compares two keys only if their hashes
    are equal, all 64 bits of SipHash with a secret of the process. The hash of a similar key is not similar."""

    def __init__(
        self, keys: Mapping[bytes, Key], *, place: Place, name: str, realm: str, description: str = ""
    ) -> None:
        self._keys = keys
        self._sent: dict[bytes, Key] = {}
        """The valid keys that callers have sent."""
        self._place: Place = place
        self._name = name
        self._wanted = (name.lower() if place == "header" else name).encode("ascii")
        self._description = description
        header = {"header": self._wanted, "cookie": b"cookie"}.get(place)
        self.fields = frozenset((header,) if header else ())
        self.query = name if place == "query" else None
        self.challenge = f'ApiKey realm="{realm}", in="{place}", name="{name}"'

    def identify(self, request: Request) -> Identity | None:
        """As Scheme.identify. It never returns an AsyncIdentify."""
        try:
            value = find_credential(self._place, self._wanted, request)
        except SeveralCredentials:
            raise Unauthenticated("The request has more than one API key.") from None
        if value is None:
            return None
        key = self._sent.get(value) or self._find(value)
        if key.expires != FOREVER and key.expires <= time.time():
            raise Unauthenticated("The API key has expired.")
        return key.identity

    def _find(self, value: bytes) -> Key:
        key = self._keys.get(sha256(value).digest()) if len(value) <= MAX_KEY else None
        if key is None:
            raise Unauthenticated("The API key is not valid.")
        self._sent[value] = key
        return key

    def describe(self) -> Mapping[str, Json]:
        """As Scheme.describe."""
        more = {"description": self._description} if self._description else {}
        return {"type": "apiKey", "in": self._place, "name": self._name, **more}
