"""An authority, and what it and others sign, for tests of HTTPS."""

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

PAST, BEFORE, LATER, FUTURE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2001, 2002, 2901, 2902))


@dataclass(frozen=True)
class Authority:
    """Signs certificates of gateways and callers, with files in `directory`."""

    directory: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    def write(self, leaf: trustme.LeafCert | None = None) -> dict[str, Path]:
        """The settings of a gateway with this certificate, or a good one: its files are made or replaced."""
        leaf = leaf or self.ca.issue_cert("127.0.0.1", "localhost")
        self.directory.mkdir(parents=True, exist_ok=True)
        cert, key = self.directory / "cert.pem", self.directory / "key.pem"
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return {"tls_cert": cert, "tls_key": key}

    def write_client_ca(self) -> dict[str, Path]:
        """The setting by which a gateway asks callers for certificates of this authority."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "client-ca.pem"
        path.write_bytes(self.ca.cert_pem.bytes())
        return {"tls_client_ca": path}

    def trust(self, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """The side of a caller that trusts this authority, and shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if leaf is not None:
            leaf.configure_cert(context)
        return context


@dataclass(frozen=True)
class Issuer:
    """An authority whose certificates may say anything."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: str = "Machines"

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._begin(x509.Name([_cn(self.name)]), PAST, FUTURE).add_extension(constraints, critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self,
        *names: str,
        subject: Sequence[tuple[ObjectIdentifier, str]] | None = None,
        begin: datetime = PAST,
        end: datetime = FUTURE,
        alternatives: Sequence[x509.GeneralName] = (),
    ) -> bytes:
        """A certificate in DER form, for these common names or for a whole subject."""
        attributes = [x509.NameAttribute(*pair) for pair in subject or ()] or [_cn(name) for name in names]
        builder = self._begin(x509.Name(attributes), begin, end)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _begin(self, subject: x509.Name, begin: datetime, end: datetime) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([_cn(self.name)]))
        builder = builder.public_key(self.key.public_key()).serial_number(0x0A1B)
        return builder.not_valid_before(begin).not_valid_after(end)


def _cn(name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name)


def write_field(encoded: bytes) -> bytes:
    """A certificate as a proxy writes it into `Client-Cert`."""
    return b":%b:" % base64.b64encode(encoded)
