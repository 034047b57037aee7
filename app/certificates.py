"""The certificate that the gateway shows to callers, its key, and the authorities for the certificates of callers.

Laws:
1. Files are read once, and every worker gets the same texts, even a worker that starts while the files are replaced.
2. A message names the setting and the file, but contains no part of the file.
"""

import json
import os
import ssl
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .errors import CannotStart
from .formats.environment import quote_value

CERT, KEY, CLIENT_CA = "GATEWAY_TLS_CERT", "GATEWAY_TLS_KEY", "GATEWAY_TLS_CLIENT_CA"
"""The settings that name the files."""

LARGEST_FILE = 1024 * 1024  # bytes
LONGEST_PATH = 1000  # characters that a message shows

_NO_CHECK_TIME = 0x200000  # x509_vfy.h, X509_V_FLAG_NO_CHECK_TIME; Python has no name for it
_OTHER_KEY = frozenset(("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"))
_TOO_WEAK = frozenset(("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"))
_NO_CERTIFICATE = "must be a file with a certificate in PEM form"
_NO_AUTHORITIES = "must be a file with certificates of authorities in PEM form"
_NO_KEY = "must be a file with a private key in PEM form"
_ENCRYPTED = "the key is encrypted; give one that is not encrypted"


class CertificateError(CannotStart):
    """Certificate files can't be used. `faults` has one line for each fault. It begins with the setting."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class _Encrypted(Exception):
    """The key needs a password."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The texts of the files, in PEM form. Without `client_ca` callers are not asked for a certificate."""

    cert: str
    key: str = field(repr=False)
    client_ca: str | None = None

    def make_context(self) -> ssl.SSLContext:
        """A context for the server side of TLS 1.2 and 1.3. With `client_ca`, a client certificate is optional."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        with _in_memory(self.cert) as cert, _in_memory(self.key) as key:
            context.load_cert_chain(cert, key, password=_refuse_password)
        if self.client_ca is not None:
            context.load_verify_locations(cadata=self.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def find_warning(self) -> str | None:
        """The reason why every caller will refuse the certificate, or None. It has expired, is not valid yet, or is for
        another purpose. Its names are not checked."""
        try:
            begin, end = _read_validity(self)
        except ssl.SSLCertVerificationError as error:
            return f"callers will refuse the certificate: {error.verify_message}"
        if time.time() > end:
            return f"the certificate expired on {_write_date(end)}"
        return f"the certificate is not valid before {_write_date(begin)}" if time.time() < begin else None

    def pack(self) -> bytes:
        """The certificate as bytes, for `unpack` in a worker process."""
        return json.dumps([self.cert, self.key, self.client_ca]).encode()

    @classmethod
    def unpack(cls, package: bytes) -> Self:
        """The certificate that `pack` has made these bytes of."""
        return cls(*json.loads(package))


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The paths of the files that the settings name."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> Sequence[Path]:
        """All files, each once."""
        return list(dict.fromkeys(path for path in (self.cert, self.key, self.client_ca) if path))

    def read(self) -> Certificate:
        """Read the files, and check that they can be used together. Blocks. Raises CertificateError."""
        faults: list[str] = []
        names = ((CERT, self.cert), (KEY, self.key), (CLIENT_CA, self.client_ca))
        texts = {name: _read_file(name, path, faults) for name, path in names if path is not None}
        for name, words in ((CERT, _NO_CERTIFICATE), (CLIENT_CA, _NO_AUTHORITIES)):
            if texts.get(name) and not _has_certificates(texts[name]):
                faults.append(self._describe(name, words))
        if faults:
            raise CertificateError(faults)
        certificate = Certificate(texts[CERT], texts[KEY], texts.get(CLIENT_CA))
        try:
            certificate.make_context()
        except (ssl.SSLError, _Encrypted) as error:
            raise CertificateError([self._explain(error)]) from None
        return certificate

    def find_faults(self) -> Sequence[str]:
        """One line for each fault of the files."""
        try:
            self.read()
        except CertificateError as error:
            return error.faults
        return ()

    def _explain(self, error: ssl.SSLError | _Encrypted) -> str:
        if isinstance(error, _Encrypted):
            return self._describe(KEY, _ENCRYPTED)
        if error.reason in _OTHER_KEY:
            return self._describe(KEY, f"this is the key of another certificate than that of {CERT}")
        if error.reason in _TOO_WEAK:
            return self._describe(CERT, "its key is too short, or it is signed in a way that is no longer safe")
        return self._describe(KEY, _NO_KEY)

    def _describe(self, name: str, words: str) -> str:
        paths = {CERT: self.cert, KEY: self.key, CLIENT_CA: self.client_ca}
        return _write_fault(name, paths[name], words)


def _refuse_password() -> str:
    raise _Encrypted


def _read_file(name: str, path: Path, faults: list[str]) -> str:
    """The text of a file. If it can't be read, returns an empty text, and adds a line to `faults`."""
    words = "must be the path of a file"
    try:
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                text = file.read(LARGEST_FILE).decode("ascii", "ignore")
            if text:
                return text
            words = "the file is empty"
    except FileNotFoundError:
        words = "there is no such file"
    except (OSError, ValueError):
        words = "the file can't be read"
    faults.append(_write_fault(name, path, words))
    return ""


def _write_fault(name: str, path: Path | None, words: str) -> str:
    return f"{name} {quote_value(str(path), most=LONGEST_PATH)}: {words}"


def _has_certificates(text: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file with this text, since OpenSSL reads keys only from files. It is in memory if the system can do
    that, else it is a temporary file."""
    with (
        os.fdopen(os.memfd_create("nats-http-tls"), "w+b")
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile() as file
    ):
        file.write(text.encode("ascii"))
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _read_validity(certificate: Certificate) -> tuple[float, float]:
    """The Unix times at which the certificate begins and ends to be valid. Python shows them only for the certificate
    of a peer. So this makes a TLS connection in memory, whose client reads the certificate of its server."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=certificate.cert)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(here, there)
    theirs = certificate.make_context().wrap_bio(there, here, server_side=True)
    for _ in range(4):
        done = [_is_done(end.do_handshake) for end in (ours, theirs)]
        if all(done):
            break
    found = ours.getpeercert() or {}
    begin, end = (ssl.cert_time_to_seconds(str(found[name])) for name in ("notBefore", "notAfter"))
    return begin, end


def _is_done(shake_hands: Callable[[], None]) -> bool:
    try:
        shake_hands()
    except ssl.SSLWantReadError:
        return False
    return True


def _write_date(instant: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(instant))
