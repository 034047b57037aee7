"""One connection to one NATS server, used once.

nats-py owns the socket, TLS, authentication, PING and PONG, and the parser. A connection never reconnects: when it
ends, for any reason, it reports that once, and the link makes another one. So nothing can be sent from a buffer after a
reconnect, and no state of nats-py outlives its socket.

This module uses much of nats-py beyond its public API. `internals` lists these names, and checks them at the start.
tests/nats/test_contract.py tests what each of them must do.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from .addresses import Address
from .credentials import ANONYMOUS, Credentials, Login
from .inbox import SID, TOKEN_LENGTH, Inbox
from .outgoing import Outgoing
from .parser import PacedTap, Tap, WireParser, read_denial
from .reasons import describe, shorten

HEARTBEAT = b"heartbeat".ljust(TOKEN_LENGTH, b"-")  # as long as a token, so that the inbox takes it like a reply
MOST_SERVERS = 100  # servers that are remembered of those that a server announces
LONGEST_MESSAGE = 10.0  # seconds; a message that takes longer to arrive is no sign of progress


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Facts that a server announces about itself, shortened and printable."""

    name: str
    version: str
    cluster: str | None


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a connection, for its link. The functions may not raise or block."""

    replied: Callable[[bytes, bytes, bytes], None]
    """A message arrived in the inbox: token, header block (empty if there is none), payload."""
    refused: Callable[[bytes], None]
    """The server is stuck. The request with this token was not sent, and never will be."""
    denied: Callable[["Connection", str], None]
    """The server refused a publish to this subject."""
    lame: Callable[["Connection"], None]
    """The server will shut down soon (lame duck mode)."""
    lost: Callable[["Connection", frozenset[bytes], str], None]
    """The connection has ended. Arguments: the tokens of the requests that were never written, and a reason without
    secrets. It is called exactly once, but not after `close`."""
    unheard: Callable[[str], None] | None = None
    """The server refused a subscription to this subject. With None such a refusal ends the connection."""


class _Client(Client):
    """A nats-py client that hands messages, errors and INFO to the Connection, and does not process them itself."""

    connection: "Connection"

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.connection.take_message(self.connection.inbox.make_token(subject, sid, reply), headers or b"", data)

    async def _process_err(self, err_msg: str) -> None:
        # The parser gives us the text in lower case. Its buffer still begins with the original line.
        self.connection.take_error(bytes(self._ps.buf), err_msg)

    async def _process_op_err(self, e: Exception) -> None:
        self.connection.end(describe(e))

    async def _process_info(self, info: dict[str, object], initial_connection: bool = False) -> None:
        """Replaces the method of nats-py, which would only remember servers, without a bound."""
        if initial_connection:
            await self._prepare_tls(info)
        elif info.get("ldm"):
            await self.connection._take_lame_duck()
        self.connection.take_info(info)

    async def _prepare_tls(self, info: dict[str, object]) -> None:
        """Set up TLS if the server, its address or the settings ask for it: nats-py uses TLS if `info` requires it.
        Raises if the server does not speak TLS, before any credentials are sent."""
        connection = self.connection
        if connection.server.scheme == "tls" or connection.credentials.want_tls:
            if not info.get("tls_required") and not info.get("tls_available"):
                raise nats.errors.Error("the server does not speak TLS")
            info["tls_required"] = True
        if info.get("tls_required"):
            self.options["tls"] = await asyncio.to_thread(connection.credentials.make_tls)  # takes 20 ms and more


class Connection:
    """One connection, made by `open`. `outgoing` sends requests, `inbox` receives replies."""

    def __init__(
        self, server: Address, events: Events, credentials: Credentials = ANONYMOUS, inbox: type[Inbox] = Inbox
    ) -> None:
        self.server = server
        self.credentials = credentials
        self.max_payload = 0
        self.info = ServerInfo("", "", None)
        self.is_lame = False
        """Whether the server has announced that it will shut down."""
        self._received = 0
        self._heard_before = -1
        self._heartbeat = 0
        self._events = events
        self.ended = False
        self._cause: Exception | None = None
        self._announced: list[str] = []
        self._client = _Client()
        self._client.connection = self
        self._transport: asyncio.WriteTransport | None = None
        prefix = b"_INBOX.%b." % bytes(self._client._nuid.next())
        self.inbox = inbox(prefix, replied=events.replied, broken=self.end)
        self.outgoing = Outgoing(prefix, refused=events.refused)
        self.publish, self.publish_echoed = self.outgoing.publish, self.outgoing.publish_echoed
        """Publish without checks. The link checks the size against `max_payload`."""
        self._client._ps = self._parser = WireParser(self._client, self.inbox, broken=self.end)

    @classmethod
    async def open(
        cls,
        server: Address,
        *,
        name: str,
        timeout: float,
        events: Events,
        credentials: Credentials = ANONYMOUS,
        inbox: type[Inbox] = Inbox,
    ) -> "Connection":
        """Make a connection that is ready to send and to receive, within `timeout` seconds. Raises ConnectError."""
        connection, login = cls(server, events, credentials, inbox), Login()
        try:
            async with asyncio.timeout(timeout):
                login = await asyncio.to_thread(credentials.read_login, server)
                await connection._connect(login, name, timeout)
        except Exception as error:
            reason = describe((isinstance(error, _VAGUE) and connection._cause) or error)
            if reason == "authorization violation" and login.is_expired:
                reason = "NATS_CREDS: the user's JWT has expired"
            raise ConnectError(f"{server.address}: {reason}") from None
        finally:
            if connection._transport is None:
                connection.close()
        return connection

    async def _connect(self, login: Login, name: str, timeout: float) -> None:
        jwt = login.jwt
        await self._client.connect(
            self.server.url,
            user=login.user,
            password=login.password,
            token=login.token,
            nkeys_seed_str=login.seed,
            user_jwt_cb=None if jwt is None else lambda: jwt.encode("ascii"),
            tls_hostname=self.server.tls_name,
            name=name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=math.ceil(timeout),
            error_cb=self._take_async_error,
        )
        self.max_payload = self._client.max_payload
        stream, reading = self._client._transport, self._client._reading_task
        if not isinstance(stream, TcpTransport) or not stream._io_writer or not stream._bare_io_writer or not reading:
            raise ConnectionError
        transport = self._transport = stream._io_writer.transport
        below = stream._bare_io_writer.transport if stream._bare_io_writer is not stream._io_writer else None
        self.outgoing.open(transport, below)
        stream_protocol = transport.get_protocol()
        if isinstance(stream_protocol, asyncio.Protocol):
            unread = len(getattr(stream._io_reader, "_buffer"))  # noqa: B009 - typeshed leaves it out
            tap = self._make_tap(stream_protocol, transport, unread)
            transport.set_protocol(tap)
        reading.add_done_callback(lambda _: self.end("the connection was closed"))
        transport.write(b"SUB %b* %d\r\n" % (self.inbox.prefix, SID))

    def _make_tap(self, stream: asyncio.Protocol, transport: asyncio.WriteTransport, unread: int) -> Tap:
        make = partial(PacedTap, transport=cast("asyncio.Transport", transport)) if self.inbox.is_paced else Tap
        return make(stream, self._parser, self.inbox, unread=unread, drained=self.outgoing.look)

    async def _take_async_error(self, error: Exception) -> None:
        self._cause = error

    async def _take_lame_duck(self) -> None:
        if not self.is_lame:
            self.is_lame = True
            self._events.lame(self)

    @property
    def servers(self) -> list[Address]:
        """The servers of the cluster that this server has announced last, at most MOST_SERVERS."""
        found: list[Address] = []
        for text in self._announced:
            with contextlib.suppress(ValueError):  # an invalid port or host
                address = Address.parse(text)
                found.append(self.server.at(address.host, address.port))
        return found

    @property
    def progress(self) -> tuple[int, int, int]:
        """A fingerprint that changes as long as the server makes progress: messages received, a byte count of an
        incomplete message (0 after LONGEST_MESSAGE seconds), and bytes sent, up to the oldest unanswered heartbeat.
        Later bytes do not count, since the kernel takes bytes even if the server is stuck."""
        return self._heard, self._count_coming(), min(self.outgoing.written - self._count_waiting(), self._heartbeat)

    @property
    def _heard(self) -> int:
        return self._received + self.inbox.received

    def _count_coming(self) -> int:
        since, count = self.inbox.coming or (self._parser.coming_since, len(self._parser.buf))
        return count if since is not None and time.monotonic() - since < LONGEST_MESSAGE else 0

    def _count_waiting(self) -> int:
        return self.outgoing.count_waiting()

    def publish_heartbeat(self) -> None:
        """Send a message to our own inbox. It comes back, or is denied; either changes `progress`. A request to a new
        inbox would not do: if somebody subscribes to `>`, it is never answered."""
        self.outgoing.write(b"PUB %b%b 0\r\n\r\n" % (self.inbox.prefix, HEARTBEAT))
        if self._heard != self._heard_before:
            self._heard_before = self._heard
            self._heartbeat = self.outgoing.position

    def take_message(self, token: bytes, headers: bytes, payload: bytes) -> None:
        self._received += 1
        self._events.replied(token, headers, payload)

    def take_error(self, buffer: bytes, message: str) -> None:
        """Process an -ERR line. Every error ends the connection, except a denied publish."""
        self._received += 1
        denied = read_denial(buffer)
        unheard = read_denial(buffer, "Subscription")
        if unheard is not None and self._events.unheard is not None:
            self._events.unheard(unheard)
        elif denied is None:
            self.end(f"the server said {shorten(message)}")
        elif denied.encode().startswith(self.inbox.prefix):  # an echo: a denial also tells that the server came to it
            self._events.replied(self.inbox.make_token(denied.encode(), SID, b""), b"", b"")
        else:
            self._events.denied(self, denied)

    def take_info(self, info: dict[str, object]) -> None:
        """Read the INFO of the server. nats-py reads max_payload only once, but a reload of the server may change
        it."""
        maximum, servers = info.get("max_payload"), info.get("connect_urls")
        if isinstance(maximum, int):
            self.max_payload = maximum
        name, version, cluster = (shorten(str(info.get(key) or "")) for key in ("server_name", "version", "cluster"))
        self.info = ServerInfo(name, version, cluster or None)
        if isinstance(servers, list) and servers:
            self._announced = [server for server in servers[:MOST_SERVERS] if isinstance(server, str)]

    def end(self, reason: str) -> None:
        """Close the connection, and report that to the link, once."""
        if not self.ended and self._transport is not None:
            self.ended = True
            unwritten = self.outgoing.unwritten
            self.close()
            self._events.lost(self, unwritten, reason)

    def close(self) -> None:
        """Close the connection without an event. It never blocks, whatever the server does."""
        self.ended = True
        client = self._client
        for task in (client._reading_task, client._ping_interval_task, client._flusher_task):
            if task is not None:
                task.cancel()
        if self._transport is not None:
            self._transport.abort()  # unsent requests are reported as lost, so there is no need to flush them
        elif client._transport is not None:
            client._transport.close()  # type: ignore[no-untyped-call] # nats-py leaves it untyped
        self.outgoing.close()


_VAGUE = (nats.errors.NoServersError, TimeoutError)  # an earlier error may tell the reason of these


class ConnectError(Exception):
    """The connection to a server could not be made. The text is for operators, and contains no secret."""
