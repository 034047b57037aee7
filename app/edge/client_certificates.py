"""Certificates by which callers say who they are: from their TLS connection, or from `Client-Cert` (RFC 9440) of a
trusted proxy that terminates TLS. Pure.

Laws:
1. `Client-Cert` counts only if a trusted proxy speaks for the caller. Then nothing else counts, since the certificate
   of the connection would be that of the proxy.
2. The server that terminates TLS has verified the certificate. This module checks its dates again with each request,
   and its signature if the scheme has authorities of its own.

This module is only imported if a route file has a scheme of certificates.
"""

import base64
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID, ObjectIdentifier

from ..errors import Unauthenticated
from ..formats.fields import CLIENT_CERT, Pair
from ..formats.schemas import Json
from .identity import Identity, weigh
from .request import Request

MAX_FIELD = 8 * 1024  # bytes of `Client-Cert`
MAX_AUTHORITIES = 100  # in one scheme
MAX_REMEMBERED = 1024  # certificates, each of at most MAX_FIELD bytes
MAX_BYTES = 8 * 1024 * 1024  # of memory for these certificates, with all their names

_ATTRIBUTES: Mapping[ObjectIdentifier, str] = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COUNTRY_NAME: "C",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.USER_ID: "UID",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.EMAIL_ADDRESS: "emailAddress",
}
_UNREADABLE = "The certificate can't be read."
_WRONG = (
    ValueError,
    TypeError,
    OverflowError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_UNSIGNED = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class _Known:
    """The holder of a certificate, the Unix times at which it begins and ends to be valid, and its bytes in memory."""

    identity: Identity
    begin: float
    end: float
    size: int


class ClientCertificates:
    """The certificates of one scheme. `identity` says where the name of the caller is: in an attribute of the subject
    of its certificate, such as `subject.CN`, or in an alternative name, such as `san.uri`. `allow` has the accepted
    names; if it is empty, all are accepted. `scopes` are the scopes of all callers. If there are `authorities`, one of
    them must have signed the certificate directly."""

    query = None
    fields = frozenset((CLIENT_CERT,))

    def __init__(
        self,
        name: str,
        *,
        identity: str = "subject.CN",
        allow: Sequence[str] = (),
        scopes: Sequence[str] = (),
        authorities: Sequence[x509.Certificate] = (),
        description: str = "",
    ) -> None:
        self.challenge = f'ClientCertificate realm="{name}"'
        self._name = name
        self._kind, _, self._part = identity.partition(".")
        self._allowed = frozenset(allow)
        self._scopes = tuple(scopes)
        self._authorities = tuple(authorities)
        self._description = description
        self._known: dict[bytes, _Known] = {}
        self._bytes = 0

    def identify(self, request: Request) -> Identity | None:
        """As Scheme.identify. It never returns an AsyncIdentify. It checks the dates of the certificate each time."""
        caller = request.caller
        if caller.is_forwarded:
            shown = _find_field(request.headers)
        else:
            shown = caller.certificate.encoded if caller.certificate else b""
        if not shown:
            return None
        known = self._known.get(shown) or self._read(shown, is_field=caller.is_forwarded)
        now = time.time()
        if not known.begin <= now <= known.end:
            raise Unauthenticated(
                "The certificate has expired." if now > known.end else "The certificate is not valid yet."
            )
        return known.identity

    def describe(self) -> Mapping[str, Json]:
        """As Scheme.describe."""
        more: dict[str, Json] = {"description": self._description} if self._description else {}
        return {"type": "mutualTLS", **more}

    def _read(self, shown: bytes, *, is_field: bool) -> _Known:
        """Read a certificate, and remember it if it is valid. Raises Unauthenticated."""
        try:
            encoded = _decode_field(shown) if is_field else shown
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about an odd serial number: no caller may write into our log
                certificate = x509.load_der_x509_certificate(encoded)
                claims = _list_claims(certificate, encoded)
            begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        except _WRONG:
            raise Unauthenticated(_UNREADABLE) from None
        if self._authorities and not any(_has_signed(authority, certificate) for authority in self._authorities):
            raise Unauthenticated("The certificate is from another authority.")
        subject = self._choose_subject(claims)
        claims |= {"sub": subject, "scope": " ".join(self._scopes)}
        identity = Identity(self._name, subject, frozenset(self._scopes), claims)
        known = _Known(identity, begin, end, len(shown) + weigh(identity))
        if len(shown) <= MAX_FIELD:  # a certificate of a handshake may be longer
            self._remember(shown, known)
        return known

    def _remember(self, shown: bytes, known: _Known) -> None:
        """Remember a certificate. If there are too many, the oldest ones are forgotten."""
        self._known[shown] = known
        self._bytes += known.size
        while len(self._known) > MAX_REMEMBERED or self._bytes > MAX_BYTES:
            self._bytes -= self._known.pop(next(iter(self._known))).size

    def _choose_subject(self, claims: Mapping[str, Json]) -> str:
        """The name of the caller. Of several alternative names it is the first one that is allowed. A subject that has
        the attribute twice is refused, since other software may use the other one."""
        part = claims[self._kind]
        found = part.get(self._part) if isinstance(part, dict) else None
        names = found if isinstance(found, list) else [] if found is None else [found]
        texts = [name for name in names if isinstance(name, str) and name.isprintable() and name.strip() == name != ""]
        if not texts:
            raise Unauthenticated(f"The certificate has no usable {self._kind}.{self._part}.")
        if self._kind == "subject" and len(names) > 1:
            raise Unauthenticated(f"The certificate has more than one {self._kind}.{self._part}.")
        subject = next((text for text in texts if not self._allowed or text in self._allowed), None)
        if subject is None:
            raise Unauthenticated("This certificate is not accepted here.")
        return subject


def _find_field(fields: Sequence[Pair]) -> bytes:
    """The value of `Client-Cert`; empty if there is none, or if it is `::`, which means no certificate. Raises
    Unauthenticated."""
    found = [value for name, value in fields if name == CLIENT_CERT]
    if not found:
        return b""
    if len(found) > 1:
        raise Unauthenticated("The request has more than one certificate.")
    value = found[0].strip()
    if len(value) > MAX_FIELD:
        raise Unauthenticated(f"The certificate has more than {MAX_FIELD} bytes.")
    return b"" if value == b"::" else value  # from a proxy that can't leave out the header


def _decode_field(value: bytes) -> bytes:
    """The DER bytes in a field: base64 between colons, and nothing else (RFC 9440 §2.2, RFC 8941 §3.3.5). Raises
    ValueError."""
    if len(value) < len("::") or value[:1] != b":" or value[-1:] != b":":
        raise ValueError("no byte sequence")
    return base64.b64decode(value[1:-1], validate=True)


def _list_claims(certificate: x509.Certificate, encoded: bytes) -> dict[str, Json]:
    """The facts of a certificate about its holder, as claims. Raises one of _WRONG."""
    subject: dict[str, Json] = {}
    for oid, name in _ATTRIBUTES.items():
        values: list[Json] = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
        if values:
            subject[name] = values[0] if len(values) == 1 else values
    return {
        "subject": subject,
        "san": dict(_list_alternatives(certificate)),
        "serial": f"{certificate.serial_number:X}",
        "fingerprint": sha256(encoded).hexdigest(),
    }


def _list_alternatives(certificate: x509.Certificate) -> Iterator[tuple[str, Json]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    kinds: tuple[tuple[str, list[str]], ...] = (
        ("dns", names.get_values_for_type(x509.DNSName)),
        ("uri", names.get_values_for_type(x509.UniformResourceIdentifier)),
        ("email", names.get_values_for_type(x509.RFC822Name)),
    )
    for kind, values in kinds:
        if values:
            yield kind, list(values)


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except _UNSIGNED:
        return False
    return authority.not_valid_before_utc.timestamp() <= time.time() <= authority.not_valid_after_utc.timestamp()


def read_authorities(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of authorities in a PEM file, at most MAX_AUTHORITIES. Raises ValueError, whose text says why
    the file can't be used."""
    try:
        found = tuple(x509.load_pem_x509_certificates(data))
        are_right = all(_is_authority(certificate) for certificate in found)
    except _WRONG:
        raise ValueError("must be a file with certificates of authorities in PEM form") from None
    if not are_right:
        raise ValueError("a certificate in it is not that of an authority: its holder could sign others")
    if len(found) > MAX_AUTHORITIES:
        raise ValueError(f"it has more than {MAX_AUTHORITIES} certificates")
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False
