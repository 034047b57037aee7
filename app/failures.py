"""Why a connection failed, in words that hold nothing of its input."""

import ssl

import nats.errors


def describe(error: Exception) -> str:
    """The kind of a connection's failure in words that hold nothing of its input."""
    for kind, words in _KINDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, nats.errors.Error):
        return str(error).removeprefix("nats: ").strip("'").lower()
    return type(error).__name__


_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ssl.SSLCertVerificationError, "the server's certificate is not trusted"),
    (ssl.SSLError, "TLS handshake failed"),
    (nats.errors.UnexpectedEOF, "the server closed the connection"),
    (ConnectionError, "the connection was reset"),
    (TimeoutError, "timed out"),
    (nats.errors.TimeoutError, "timed out"),
    (OSError, "the host can't be reached"),
)
