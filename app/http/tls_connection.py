"""TLS between a socket and the protocol of a connection.

asyncio has a transport for this too. But it keeps up to 512 KiB for each connection, and hides from its protocol the
bytes in the buffer of the socket, so that our bounds could not count them. Here:

1. The protocol of a connection begins after the handshake, and sees all bytes that wait to be read or written.
2. Handshakes take turns with other expensive work, so that a thousand of them do not delay other callers.
3. This module keeps nothing of a connection except an incomplete TLS record.
"""

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import Callable
from typing import Any

import structlog

from ..edge.proxy_protocol import ProxyHeader
from ..edge.request import PeerCertificate
from ..errors import BadRequest
from .bounds import Bounds

READ = 64 * 1024  # bytes of plain text that are read at once
HEAD = 9  # bytes at the beginning of the first record; they include the length of the ClientHello
MAX_HELLO = 16 * 1024  # bytes; OpenSSL would allocate as many as the caller announces, up to 128 KiB

PEER_CERTIFICATE = "peer_certificate"  # key of `get_extra_info`; its value is a PeerCertificate or None

_HANDSHAKE, _CLIENT_HELLO = 22, 1  # RFC 8446 §5.1, §4
_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
)
_NO_TLS = b"This port takes requests over HTTPS.\n"

_log = structlog.get_logger("nats-http.tls")


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """The protocol of a socket, and the transport of the protocol that `make_protocol` makes after the handshake.
    `count` returns how many connections have done theirs. `announced` is the PROXY header that came before TLS, or the
    error in it."""

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        bounds: Bounds,
        count: Callable[[], int],
        *,
        announced: ProxyHeader | BadRequest | None = None,
    ) -> None:
        super().__init__()
        self.opened_at = time.monotonic()
        self._make_protocol = make_protocol
        self._context = context
        self._bounds = bounds
        self._count = count
        self._announced = announced
        self._socket: asyncio.Transport
        self._hello = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._protocol: asyncio.Protocol | None = None
        self._is_closing = False
        self._has_said_goodbye = False
        self._is_half_closed = False
        self._stays_open = False
        self._certificate: PeerCertificate | None = None

    # The socket's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake. If the PROXY header was wrong, refuse the connection."""
        self._socket = transport  # type: ignore[assignment] # of a stream
        if isinstance(self._announced, BadRequest):
            self._note_failure(str(self._announced))
            self._refuse(f"{self._announced}\n".encode())
            return
        handshakes, maximum = self._bounds.handshakes, self._bounds.maximum
        handshakes.open(self, excess=lambda: self._count() + len(handshakes) - maximum)

    def data_received(self, data: bytes) -> None:
        """Decrypt bytes for the protocol, or continue the handshake. After our goodbye pass them on as they came."""
        if self._is_closing:
            return
        if self._has_said_goodbye:
            self._hand_on(data)
        elif self._protocol is not None:
            self._incoming.write(data)
            self._read()
        elif self._tls is not None:
            self._incoming.write(data)
            self._shake_hands()
        else:
            self._begin(data)

    def eof_received(self) -> bool:
        """Stay open if the protocol asks for it, but never during the handshake."""
        if self._protocol is None or self._is_closing:
            return False
        if not self._take_end():
            self.close()
        return self._stays_open

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the references that form cycles."""
        self._is_closing = True
        self._bounds.handshakes.forget(self)
        protocol, self._protocol, self._tls = self._protocol, None, None
        if protocol is not None:
            protocol.connection_lost(exc)

    # The handshake

    def _begin(self, data: bytes) -> None:
        """Begin the handshake if the first record is a ClientHello of at most MAX_HELLO bytes, else close."""
        self._hello += data
        if self._hello[0] != _HANDSHAKE:
            # Most probably the caller uses an `http` URL.
            self._refuse(_NO_TLS if self._hello[:1].isalpha() else b"")
        elif len(self._hello) >= HEAD:
            if self._hello[5] != _CLIENT_HELLO or int.from_bytes(self._hello[6:HEAD]) > MAX_HELLO:
                self.abort()
                return
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._incoming.write(self._hello)
            self._hello = b""
            self._shake_hands()

    def _refuse(self, text: bytes) -> None:
        """Close. If there is a text, send it first, in plain HTTP, since TLS has not begun."""
        if text:
            self._socket.write(_REFUSAL % (len(text), text))
        self._is_closing = True
        self._socket.close()

    def _shake_hands(self) -> None:
        """Continue the handshake, now or in a later turn of the loop."""
        turns = self._bounds.turns
        if turns.is_used_up:
            self._socket.pause_reading()
            self._bounds.handshakes.note_waiting(self)
            turns.wait(self._go_on)
            return
        began = time.monotonic()
        try:
            self._take_step()
        finally:
            turns.spend(time.monotonic() - began)

    def _go_on(self) -> None:
        if not self._is_closing:
            self._socket.resume_reading()
            self._shake_hands()

    def _take_step(self) -> None:
        assert self._tls is not None  # noqa: S101 - it has begun
        try:
            self._tls.do_handshake()
            certificate = _describe_peer(self._tls)
        except ssl.SSLWantReadError:
            self._flush()
            self._bounds.handshakes.note_begun(self)
        except (ssl.SSLError, ValueError) as error:  # ValueError: the certificate can't be read
            self._give_up(error)
        else:
            self._flush()
            self._bounds.handshakes.forget(self)
            self._serve(certificate)

    def _serve(self, certificate: PeerCertificate | None) -> None:
        self._certificate = certificate
        self._protocol = self._make_protocol()
        self._protocol.connection_made(self)
        if not (self._is_closing or self._has_said_goodbye):  # the protocol may have refused the connection
            self._read()

    def _give_up(self, error: Exception) -> None:
        """Close after a TLS error. Send the caller the alert that TLS has for it, if any."""
        self._note_failure(str(error))
        self._flush()
        self._is_closing = True
        self._socket.close()

    def _note_failure(self, reason: str) -> None:
        peer = self._socket.get_extra_info("peername")
        if isinstance(self._announced, ProxyHeader) and not self._announced.is_local:
            peer = self._announced.source
        _log.debug("tls-failed", peer=peer[0] if peer else None, reason=reason)

    # Incoming bytes

    def _read(self) -> None:
        """Give the protocol all complete records that have come, in pieces as large as without TLS."""
        pieces: list[bytes] = []
        is_end = False
        assert self._tls is not None  # noqa: S101 - it has keys
        try:
            while self._incoming.pending:
                piece = self._tls.read(READ)
                if not piece:
                    is_end = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._give_up(error)
            return
        if self._outgoing.pending:
            self._flush()
        if pieces:
            self._hand_on(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if is_end and not (self._is_closing or self._take_end()):
            self.close()

    def _hand_on(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.data_received(data)

    def _take_end(self) -> bool:
        """Note that the caller sends no more. Returns whether the connection stays open for an answer."""
        assert self._protocol is not None  # noqa: S101 - it has one
        if not self._is_half_closed:
            self._is_half_closed = True
            self._stays_open = bool(self._protocol.eof_received())
        return self._stays_open

    # The protocol's transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and write. Does nothing once the connection is closing."""
        if self._is_closing or self._tls is None or not data:
            return
        try:
            sent = self._tls.write(data)  # one record
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            self._give_up(error)
            return
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.write(self._outgoing.read())

    def _say_goodbye(self) -> None:
        """Send close_notify: without it the caller can't know that the last answer is complete (RFC 8446 §6.1)."""
        if self._has_said_goodbye or self._tls is None:
            return
        self._has_said_goodbye = True
        with contextlib.suppress(ssl.SSLError):  # `unwrap` raises since the caller has not said goodbye yet
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        """Close, once the caller has read all bytes that it was sent."""
        if not self._is_closing:
            self._say_goodbye()
            self._is_closing = True
            self._socket.close()

    def abort(self) -> None:
        self._is_closing = True
        self._socket.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End our half. From now on the protocol gets incoming bytes still encrypted: it only counts and drops them."""
        if not self._is_closing:
            self._say_goodbye()
            self._socket.write_eof()

    def is_closing(self) -> bool:
        return self._is_closing or self._socket.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def is_reading(self) -> bool:
        return self._socket.is_reading()

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._socket.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The facts of the socket, and two more: PEER_CERTIFICATE, and `sslcontext`, which shows that this is TLS."""
        if name == "sslcontext":
            return self._context
        if name == PEER_CERTIFICATE:
            return self._certificate
        return self._socket.get_extra_info(name, default)


def _describe_peer(tls: ssl.SSLObject) -> PeerCertificate | None:
    found: Any = tls.getpeercert()  # its names are pairs of texts, which its type does not say
    encoded = tls.getpeercert(binary_form=True)
    if not found or encoded is None:
        return None
    subject = tuple(pair for part in found.get("subject", ()) for pair in part)
    alternatives = tuple(found.get("subjectAltName", ()))
    fingerprint = hashlib.sha256(encoded).hexdigest()
    return PeerCertificate(subject, alternatives, found["serialNumber"], fingerprint, encoded)
