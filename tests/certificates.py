"""An authority, and what it and others sign, for tests of HTTPS."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trustme

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
