"""The credentials of the gateway for NATS servers, and the verification of the servers' certificates.

Laws:
1. A file is read again for every connection, so that a new seed, JWT, key or certificate needs no restart.
2. No message contains a part of a file or of a secret. It does not even contain the path of a file, since somebody may
   have set a seed instead of a path.
3. TLS always verifies the certificate and the name of the server.
"""

import base64
import binascii
import json
import re
import ssl
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..formats.clusters import MAIN, name_variables
from .addresses import Address

LARGEST_FILE = 1024 * 1024  # bytes; usual files have a few thousand

_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+([\w-]+\.[\w-]+\.[\w-]+)\s")
_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(\w+)\s")


class CredentialsError(Exception):
    """The value of a setting, or its file, can't be used. The text begins with the variable, and says what would be
    right."""

    def __init__(self, variable: str, words: str) -> None:
        super().__init__(f"{variable}: {words}")

    def with_names_of(self, cluster: str) -> "CredentialsError":
        """The same error with the variables of this cluster."""
        variable, _, words = name_variables(str(self), cluster).partition(": ")
        return CredentialsError(variable, words)


@dataclass(frozen=True, slots=True)
class Login:
    """The proof of our identity for a server. A `jwt` comes with its `seed`; an nkey is a `seed` alone."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    jwt: str | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)

    @property
    def is_expired(self) -> bool:
        """Whether the JWT has expired, according to its claim `exp`."""
        if self.jwt is None:
            return False
        try:
            claims = json.loads(base64.urlsafe_b64decode(self.jwt.split(".")[1] + "=="))
            return 0 < int(claims.get("exp", 0)) <= time.time()
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError):
            return False


@dataclass(frozen=True, slots=True)
class Credentials:
    """The settings NATS_CREDS, NATS_NKEY_SEED, NATS_USER and so on. The methods that read files block. Their messages
    have the variables of `cluster`."""

    creds: Path | None = field(default=None, repr=False)
    nkey_seed: Path | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls_ca: Path | None = field(default=None, repr=False)
    tls_cert: Path | None = field(default=None, repr=False)
    tls_key: Path | None = field(default=None, repr=False)
    cluster: str = MAIN

    @property
    def log_fields(self) -> dict[str, str]:
        """Fields for log lines about the cluster: its name, unless it is `main`."""
        return {} if self.cluster == MAIN else {"nats": self.cluster}

    @property
    def want_tls(self) -> bool:
        """Whether the settings require TLS."""
        return self.tls_ca is not None or self.tls_cert is not None or self.tls_key is not None

    def find_conflicts(self, servers: Sequence[Address]) -> list[str]:
        """One line for each conflict of the settings. It begins with a variable."""
        ways = {
            "NATS_CREDS": self.creds,
            "NATS_NKEY_SEED": self.nkey_seed,
            "NATS_USER": self.user,
            "NATS_TOKEN": self.token,
            "NATS_URL with credentials": next((server.user for server in servers if server.user is not None), None),
        }
        used = [name for name, value in ways.items() if value is not None]
        needs = (
            ("NATS_PASSWORD", self.password, "NATS_USER", self.user),
            ("NATS_TLS_CERT", self.tls_cert, "NATS_TLS_KEY", self.tls_key),
            ("NATS_TLS_KEY", self.tls_key, "NATS_TLS_CERT", self.tls_cert),
        )
        missing = [f"{name}: needs {other}" for name, value, other, its in needs if value is not None and its is None]
        if len(used) > 1:
            missing.append(f"{', '.join(used)}: set one of them: each says who the gateway is")
        return [name_variables(line, self.cluster) for line in missing]

    def read_login(self, server: Address) -> Login:
        """The login for a server. Credentials in its address come first. Raises CredentialsError."""
        if server.user is not None:
            return Login(server.user, server.password) if server.password is not None else Login(token=server.user)
        try:
            if self.creds is not None:
                jwt, seed = read_creds(self.creds)
                return Login(jwt=jwt, seed=seed)
            if self.nkey_seed is not None:
                return Login(seed=read_seed(self.nkey_seed))
        except CredentialsError as error:
            raise error.with_names_of(self.cluster) from None
        # nats-server accepts a user without a password, if its configuration has none.
        return Login(self.user, None if self.user is None else self.password or "", self.token)

    def make_tls(self) -> ssl.SSLContext:
        """A context for TLS with servers. Without NATS_TLS_CA it trusts the authorities of the system. Raises
        CredentialsError."""
        try:
            context = load_authorities(self.tls_ca)
            self._load_certificate(context)
        except CredentialsError as error:
            raise error.with_names_of(self.cluster) from None
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        if self.tls_cert is not None and self.tls_key is not None:
            load_certificate(context, self.tls_cert, self.tls_key)

    def find_faults(self) -> list[str]:
        """One line for each file that can't be used. It begins with a variable."""
        faults = []
        for path, read in ((self.creds, read_creds), (self.nkey_seed, read_seed), (self.tls_ca, load_authorities)):
            try:
                if path is not None:
                    read(path)
            except CredentialsError as error:
                faults.append(str(error))
        try:
            self._load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except CredentialsError as error:
            faults.append(str(error))
        return [name_variables(fault, self.cluster) for fault in faults]


def read_creds(path: Path) -> tuple[str, str]:
    """The JWT and the seed in a file that `nsc generate creds` wrote. Raises CredentialsError."""
    text = read_file("NATS_CREDS", path)
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None or not _is_seed(seed[1]):
        raise CredentialsError(
            "NATS_CREDS", "must be a file with a NATS USER JWT and a USER NKEY SEED, as nsc writes it"
        )
    return jwt[1], seed[1]


def read_seed(path: Path) -> str:
    """The seed of a user in a file. Raises CredentialsError."""
    seed = read_file("NATS_NKEY_SEED", path).strip()
    if not _is_seed(seed):
        raise CredentialsError("NATS_NKEY_SEED", "must be a file with the seed of a user's nkey, which begins with SU")
    return seed


def load_authorities(path: Path | None) -> ssl.SSLContext:
    """A context that verifies the certificate and the name of the server. Raises CredentialsError."""
    if path is None:
        return ssl.create_default_context()
    text = read_file("NATS_TLS_CA", path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context would treat an empty file as none
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise CredentialsError("NATS_TLS_CA", "must be a file with certificates in PEM form") from None
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load the client certificate that the server gets. Raises CredentialsError."""
    text = read_file("NATS_TLS_CERT", certificate)
    read_file("NATS_TLS_KEY", key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise CredentialsError("NATS_TLS_CERT", "must be a file with a certificate in PEM form") from None
    try:
        context.load_cert_chain(certificate, key, password="")  # else OpenSSL would ask for one at the terminal
    except ssl.SSLError as error:
        fits = error.reason != "KEY_VALUES_MISMATCH"
        words = "must be a file with a private key in PEM form, not encrypted" if fits else "does not fit NATS_TLS_CERT"
        raise CredentialsError("NATS_TLS_KEY", words) from None
    except OSError:
        raise CredentialsError("NATS_TLS_KEY", "the file can't be read") from None


def read_file(variable: str, path: Path) -> str:
    """The ASCII text of a regular file. Raises CredentialsError."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                return file.read(LARGEST_FILE).decode("ascii", "ignore")
    except FileNotFoundError:
        raise CredentialsError(variable, "there is no such file") from None
    except (OSError, ValueError):
        raise CredentialsError(variable, "the file can't be read") from None
    raise CredentialsError(variable, "must be the path of a file")


def _is_seed(text: str) -> bool:
    """Whether a text is the seed of a user: 2 bytes of prefix, 32 bytes of seed and a CRC-16, in base 32."""
    if not re.fullmatch(r"SU[A-Z2-7]{56}", text):
        return False
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    return binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")


ANONYMOUS = Credentials()
