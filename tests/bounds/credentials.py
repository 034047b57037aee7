"""Keys, tokens, addresses and certificates by the thousand, wrong and right. It imports little: attackers make them.

The keys of the issuers are no secrets: they are the same in each run.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

SECRET = b"a secret that everybody who reads this knows"
KEY = "nhg_a-key-that-everybody-who-reads-this-knows"
ISSUER, MEMBERS = "https://id.example", "https://members.example"
LONG = 8 * 1024  # bytes, as long as a token may be

_FOREVER = 4_102_444_800  # 2100-01-01
_SIGNER = bytes(32)  # an Ed25519 key


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _write(content: object) -> bytes:
    return _encode(json.dumps(content, separators=(",", ":")).encode())


def _spread(number: int, size: int) -> bytes:
    """Bytes that look like chance, and are others for each number."""
    return hashlib.shake_128(b"%d" % number).digest(size)


_MODULUS = _encode(b"\xc1" + _spread(0, 254) + b"\x01")  # nobody knows its factors
JWKS: Mapping[str, object] = {
    "keys": [
        {"kty": "RSA", "kid": "rsa", "n": _MODULUS.decode(), "e": "AQAB"},
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"},
    ]
}


def write_files(directory: Path) -> None:
    """The files that routes.yaml names."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (directory / "keys.yaml").write_text(f"version: 1\nkeys: [{{name: sue, sha256: {digest}}}]\n")
    (directory / "keys.json").write_text(json.dumps(JWKS))
    (directory / "secret").write_bytes(SECRET)


# Right ones


def _claim(issuer: str, subject: str, **more: object) -> bytes:
    return _write({"iss": issuer, "aud": "bounds", "sub": subject, "exp": _FOREVER, **more})


def sign_for_user() -> str:
    """A token of the issuer whose keys are public."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = b"%b.%b" % (_write({"alg": "EdDSA", "kid": "ed"}), _claim(ISSUER, "sue"))
    return (text + b"." + _encode(Ed25519PrivateKey.from_private_bytes(_SIGNER).sign(text))).decode()


def sign_for_member(number: int, **more: object) -> bytes:
    """A token of the issuer whose secret is shared."""
    text = b"%b.%b" % (_write({"alg": "HS256"}), _claim(MEMBERS, f"member{number}", **more))
    return text + b"." + _encode(hmac.digest(SECRET, text, "sha256"))


def sign_deep(number: int) -> bytes:
    """One that takes far more memory when it is read than as a text."""
    return sign_for_member(number, groups=[[]] * 1900)


# Wrong ones


def make_key(number: int) -> bytes:
    """As long as a right one."""
    return b"nhg_" + _spread(number, 24).hex().encode() + b"x"


def forge(number: int) -> bytes:
    """A token with the id of a key that is known, and a wrong signature."""
    text = b"%b.%b" % (_write({"alg": "RS256", "kid": "rsa"}), _claim(ISSUER, f"user{number}"))
    return text + b"." + _encode(b"\x00" + _spread(number, 255))


def forge_unknown(number: int) -> bytes:
    """A token with the id of a key that nobody knows."""
    text = b"%b.%b" % (_write({"alg": "RS256", "kid": f"key{number}"}), _claim(ISSUER, f"user{number}"))
    return text + b"." + _encode(_spread(number, 256))


def forge_long(number: int) -> bytes:
    """A token that is as long as one may be."""
    text = b"%b.%b" % (_write({"alg": "RS256", "kid": "rsa"}), _claim(ISSUER, f"user{number:08}", pad="x" * 5_700))
    return (text + b"." + _encode(b"\x00" + _spread(number, 255)))[:LONG]


def make_garbage(number: int) -> bytes:
    """A word that is no token."""
    return b".".join(_encode(_spread(number + part, 60)) for part in range(3))


def garble_certificate(number: int) -> bytes:
    """`Client-Cert` with bytes that begin like a certificate."""
    return b":%b:" % base64.b64encode(b"\x30\x82\x02\x00\x30\x82" + _spread(number, 512))


def write_certificate(number: int) -> bytes:
    """`Client-Cert` with a certificate that can be read, of another machine each time; its names take far more memory
    when they are read. Its signature is wrong, which only an authority in the route file would find."""
    return b":%b:" % base64.b64encode(_issue().replace(b"machine00000000", b"machine%08d" % number))


@lru_cache
def _issue() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    begin, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    key = Ed25519PrivateKey.from_private_bytes(_SIGNER)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "machine00000000")])
    names = x509.SubjectAlternativeName([x509.DNSName("ab")] * 1_400)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    return builder.add_extension(names, critical=False).sign(key, None).public_bytes(Encoding.DER)


def make_address(number: int) -> bytes:
    """An address of a network of its own."""
    return b"2001:db8:%x:%x::1" % (number >> 16, number & 0xFFFF)


# Requests

Write = Callable[[int], bytes]
"""The credential of this number."""


def write_requests(target: str, field: str, write: Write, *, count: int, start: int = 0) -> bytes:
    """Requests one behind the other; `field` begins each header field."""
    return b"".join(iterate_requests(target, field, write, count=count, start=start))


def iterate_requests(target: str, field: str, write: Write, *, count: int, start: int = 0) -> Iterator[bytes]:
    """The same, one at a time."""
    form = f"GET {target} HTTP/1.1\r\nHost: t\r\n{field}".encode()
    for number in range(start, start + count):
        yield b"%b%b\r\n\r\n" % (form, write(number))
