"""Describes why a connection failed, in our words, or in those of the server's -ERR."""

import ssl

import nats.errors

from .credentials import CredentialsError

LONGEST = 200  # characters of a server's text


def describe(error: Exception) -> str:
    """The reason of a failed connection in a few words, for operators."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate {_CERTIFICATE.get(error.verify_code, 'is not trusted; see NATS_TLS_CA')}"
    if isinstance(error, ssl.SSLError) and any(word in (error.reason or "") for word in _ALERTS):
        return "the server asks for a client certificate, or refuses ours; see NATS_TLS_CERT"
    for kind, words in _KINDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, CredentialsError):
        return str(error)
    if isinstance(error, nats.errors.Error):
        return shorten(str(error).removeprefix("nats: ").strip("'").lower())
    return type(error).__name__


def shorten(text: str) -> str:
    """The text of a server, limited to LONGEST printable characters, so that it can be shown."""
    return "".join(character for character in text[:LONGEST] if character.isprintable())


# OpenSSL, X509_STORE_CTX_get_error(3)
_CERTIFICATE = {
    9: "is not valid yet",
    10: "has expired",
    62: "is for another name",
    64: "is for another IP address",
}

# RFC 8446, 6.2: alerts of a server about the certificate of its client
_ALERTS = ("ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_EXPIRED")

_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ssl.SSLError, "TLS handshake failed"),
    (nats.errors.UnexpectedEOF, "the server closed the connection"),
    (ConnectionError, "the connection was reset"),
    (TimeoutError, "timed out"),
    (nats.errors.TimeoutError, "timed out"),
    (OSError, "the host can't be reached"),
)
