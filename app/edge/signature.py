"""`signature` of a route: the sender signs the body with a secret that it shares with the operator (HMAC-SHA256), as
GitHub and others do with webhooks. The signature proves who wrote the body, and that nobody has changed it. But anybody
who sees such a request can send it again."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Literal

from ..errors import Unauthenticated
from ..formats.fields import find_values
from .request import Request

Encoding = Literal["hex", "base64"]

MAX_SIGNED_BODY = 4 * 1024 * 1024  # bytes; a larger body would delay other callers
_PREFIX = b"sha256="
_SIZE = 32  # bytes


class Signature:
    """Refuses a body without a valid signature in the header field `header`. A signature by any of the `secrets` is
    valid, so that a secret can be replaced while senders still use the old one. With `hex` the value may begin with
    `sha256=`."""

    errors = (Unauthenticated,)

    def __init__(self, header: str, secrets: Sequence[bytes], encoding: Encoding = "hex") -> None:
        self.header = header
        self._secrets = tuple(secrets)
        self.encoding = encoding
        self._challenge = ((b"www-authenticate", b'HMAC-SHA256 header="%b"' % header.encode("ascii")),)
        self.fields = frozenset((header.lower().encode("ascii"),))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[object, ...]:
        return self.header, self._secrets, self.encoding

    def check(self, request: Request) -> None:
        """Raises Unauthenticated if the request has no signature. It does not wait for the body."""
        self._read(request)

    def check_body(self, request: Request, body: bytes) -> None:
        """Raises Unauthenticated if the signature is not that of this body. Every wrong signature takes the same
        time."""
        signature = self._read(request)
        made = [hmac.digest(secret, body, "sha256") for secret in self._secrets]
        if not sum(hmac.compare_digest(signature, valid) for valid in made):
            raise self._refuse(f"The signature in {self.header} does not match the body.")

    def _read(self, request: Request) -> bytes:
        (name,) = self.fields
        values = find_values(request.headers, name)
        if not values:
            raise self._refuse(f"The request has no header {self.header} with a signature.")
        signature = self._decode(values[0]) if len(values) == 1 else b""
        if len(signature) != _SIZE:
            raise self._refuse(f"{self.header} has no HMAC-SHA256 in {self.encoding}.")
        return signature

    def _decode(self, value: bytes) -> bytes:
        try:
            if self.encoding == "hex":
                return binascii.unhexlify(value.removeprefix(_PREFIX))
            return base64.b64decode(value, validate=True)
        except ValueError:
            return b""

    def _refuse(self, detail: str) -> Unauthenticated:
        return Unauthenticated(detail, headers=self._challenge)
