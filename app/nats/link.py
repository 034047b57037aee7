"""The link to NATS: sends requests, receives replies, and ends requests when the connection is lost. It never reports a
wrong `delivered`.

Laws (docs/adr/0004 explains how they are kept):
1. Every request ends exactly once, no later than its deadline.
2. Nothing is sent from a buffer after a reconnect: without a connection a request fails at once as NotConnected.
3. A lost connection fails every request in flight on it at once: ConnectionLost, or NotConnected if still unwritten.
4. No request makes the server answer -ERR: sizes are checked against its live max_payload, subjects by their template.
5. A new connection replaces one that has ended or is stuck. The link tries this without end, with jittered backoff.
6. Lame duck: the link first makes a new connection, then moves to it. The old one stays until its requests have ended.
7. A denied publish fails its request at once as PermissionDenied.
8. "No responders" is the server's status line, not a service's header.
9. No entry outlives its request; cancelling or abandoning one removes it.
10. HTTP drains first. Then `close` refuses new requests as Draining, and ends the connection.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Self

import structlog

from ..errors import (
    ConnectionLost,
    Draining,
    GatewayError,
    NoResponders,
    NotConnected,
    Overloaded,
    PayloadTooLarge,
    PermissionDenied,
    Timeout,
)
from ..formats.messages import Reply, is_no_responders
from .connection import HEARTBEAT, Connection, Events, ServerInfo
from .credentials import ANONYMOUS, Credentials
from .dialer import Dialer
from .gathering import MAX_GATHERINGS, Gathered, Gathering
from .in_flight import TOO_SLOW, InFlight, InFlightFuture, InFlightMap, Outcome
from .inbox import Inbox
from .shares import Share
from .tasks import Tasks

STABLE = 5.0  # seconds after which a connection counts as lasting
BRIEF = 1.0  # seconds; after a shorter connection the backoff grows, even if it ended by lame duck
HEARTBEAT_INTERVAL = 2.0  # seconds; if a connection shows no progress for as long after a heartbeat, it is stuck

_log = structlog.get_logger("nats-http.link")


class Link:
    """The link to the NATS servers at these URLs. An async context manager: enter it in the event loop that it serves.
    It connects in the background, so that entering never waits for NATS. Durations are in seconds. At most
    `max_in_flight` requests are in flight, and at most `max_per_caller` of one peer address (None means no such limit).
    Raises ValueError if a URL is not valid."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        max_in_flight: int,
        max_per_caller: int | None = None,
        credentials: Credentials = ANONYMOUS,
        inbox: type[Inbox] = Inbox,
        unheard: Callable[[str], None] | None = None,
    ) -> None:
        self._in_flight = InFlightMap(max_in_flight, max_per_caller, self._take_unclaimed)
        self._settle = self._in_flight.settle
        self._gatherings = Share(MAX_GATHERINGS)
        self._connection: Connection | None = None
        self._leaving = asyncio.Event()
        self._closing = False
        self._tasks = Tasks()
        self._events = Events(
            replied=self._take_reply,
            refused=self._take_refusal,
            denied=self._take_denial,
            lame=self._leave,
            unheard=unheard,
            lost=self._lose,
        )
        self._log_fields = credentials.log_fields
        self._dialer = Dialer(servers, credentials=credentials, events=self._events, inbox=inbox)
        self._connected_at = 0.0
        self._heartbeat_at = 0.0
        self._round_trip: float | None = None
        self.reconnects = 0
        """The number of connections after the first one."""
        self.has_connected = False
        """Whether it has ever been connected."""

    @property
    def reason(self) -> str | None:
        """Why requests can't be sent now, without secrets; None when they can."""
        if self._closing:
            return "shutting down"
        return self._dialer.reason if self._connection is None else None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def server(self) -> str | None:
        """host:port of the server that the link is connected to; None without a connection."""
        return self._connection.server.address if self._connection else None

    @property
    def server_info(self) -> ServerInfo | None:
        """The facts that this server announces about itself; None without a connection."""
        return self._connection.info if self._connection else None

    @property
    def round_trip(self) -> float | None:
        """The seconds until the last heartbeat came back. There is one every HEARTBEAT_INTERVAL seconds."""
        return self._round_trip if self._connection else None

    @property
    def connected_for(self) -> float | None:
        """The seconds since it connected to this server; None without a connection."""
        return time.monotonic() - self._connected_at if self._connection else None

    @property
    def backlog(self) -> int:
        """The bytes that wait to be sent to the server, or are not acknowledged yet."""
        return self._connection.outgoing.count_waiting() if self._connection else 0

    async def __aenter__(self) -> Self:
        self._closing = False
        self._tasks.open()
        self._tasks.own(self._supervise)
        self._tasks.own(self._watch)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def send(self, sent: InFlight, subject: str, headers: bytes, payload: bytes, deadline: float) -> None:
        """As in Sender. The link keeps no reference to headers and payload."""
        connection = self._connection
        refusal = self._check(connection, len(headers) + len(payload), deadline)
        if refusal is None and connection is not None:
            refusal = self._in_flight.begin(sent, subject, connection, deadline)
            if refusal is None:
                tell = sent.written if sent.wants_written else None
                send = connection.publish_echoed if sent.is_published else connection.publish
                send(subject.encode(), sent.token, headers, payload, tell)
                return
        if sent.wants_written:
            sent.written()
        sent.take(refusal or NotConnected())

    async def request(self, subject: str, headers: bytes, payload: bytes, deadline: float) -> Outcome:
        """Send a request, and wait for the outcome. A cancellation abandons the request."""
        sent = InFlightFuture()
        self.send(sent, subject, headers, payload, deadline)
        del payload  # so that its memory is free as soon as it is written
        try:
            return await sent.future
        finally:
            sent.abandon()

    async def gather(self, subject: str, payload: bytes, *, within: float, stall: float, most: int) -> Gathered:
        """Send a request of the gateway's own that many services may answer, and wait for the replies: at most `within`
        seconds, at most `most` messages, and at most `stall` seconds after the last message. It takes no place from the
        requests of callers. A cancellation abandons it. At most MAX_GATHERINGS run at a time."""
        deadline = time.monotonic() + within
        sent = Gathering(self._gatherings, deadline, stall=stall, most=most)
        self._in_flight.maximum += 1
        try:
            self.send(sent, subject, b"", payload, deadline)
            return await sent.future
        finally:
            sent.abandon()
            self._in_flight.maximum -= 1

    def _check(self, connection: Connection | None, size: int, deadline: float) -> GatewayError | None:
        if self._closing:
            return Draining()
        if connection is None:
            return NotConnected()
        if connection.outgoing.is_full and connection.outgoing.look():
            return Overloaded(TOO_SLOW)
        if size > connection.max_payload:
            self._renew()
            return PayloadTooLarge(
                f"Headers and body have {size} bytes; the NATS server accepts {connection.max_payload}."
            )
        return Timeout.unsent() if deadline <= time.monotonic() else None

    def _renew(self) -> None:
        """Move to a new connection, as on lame duck. A reload of the server may have raised max_payload, and
        nats-server announces that only to new connections. This happens at most once in STABLE seconds, however many
        bodies are too large."""
        if time.monotonic() - self._connected_at > STABLE:
            self._leaving.set()

    def _take_reply(self, token: bytes, headers: bytes, payload: bytes) -> None:
        is_none = headers and is_no_responders(headers, payload)
        self._settle(token, NoResponders() if is_none else Reply(headers, payload))

    def _take_unclaimed(self, token: bytes) -> None:
        """Take an outcome without a request in flight: a heartbeat, or a late reply."""
        if token == HEARTBEAT:
            self._round_trip = time.monotonic() - self._heartbeat_at

    def _take_refusal(self, token: bytes) -> None:
        self._settle(token, Overloaded(TOO_SLOW))

    def _take_denial(self, connection: Connection, subject: str) -> None:
        # A denial is for one message. It comes before the echo of a published one, so it is for the oldest of those.
        # Else the newest request fails: the server may have let older ones to the subject pass.
        oldest = (sent for sent in self._in_flight if sent.is_published)
        for sent in chain(oldest, reversed(self._in_flight)):
            if sent.subject == subject and sent.connection is connection:
                return self._settle(sent.token, PermissionDenied())
        return None

    def _leave(self, connection: Connection) -> None:
        if connection is self._connection:
            _log.warning("lame-duck", server=connection.server.address, **self._log_fields)
            self._leaving.set()

    def _lose(self, connection: Connection, unwritten: frozenset[bytes], reason: str) -> None:
        if connection is self._connection:
            self._connection = None
            self._leaving.set()
        if self._connection is None and not self._closing:  # it may have ended before the link used it
            self._dialer.reason = f"{connection.server.address}: {reason}"
            _log.warning("disconnected", server=connection.server.address, reason=reason, **self._log_fields)
        for token in [sent.token for sent in self._in_flight if sent.connection is connection]:
            self._settle(token, NotConnected() if token in unwritten else ConnectionLost())

    async def _supervise(self) -> None:
        while True:
            fresh = await self._dialer.connect()
            if fresh.ended:
                continue
            stale, self._connection = self._connection, fresh
            self._connected_at = time.monotonic()
            self._leaving.clear()
            if fresh.is_lame:
                self._leaving.set()
            _log.info("connected", server=fresh.server.address, **self._log_fields)
            self._beat(fresh)
            self._use(fresh)
            self.reconnects += self.has_connected
            self.has_connected = True
            if stale is not None:
                self._tasks.own(partial(self._retire, stale))
            await self._leave_or_settle()
            self._dialer.learn([fresh.server, *fresh.servers])

    async def _leave_or_settle(self) -> None:
        """Wait until the connection must be replaced. If it has lasted for STABLE seconds, the backoff ends. If it is
        still open and older than BRIEF (as on lame duck), the backoff ends too, since the server may not wait
        longer."""
        try:
            await asyncio.wait_for(self._leaving.wait(), STABLE)
        except TimeoutError:
            self._dialer.end_backoff()
            await self._leaving.wait()
        if self._connection is not None and time.monotonic() - self._connected_at > BRIEF:
            self._dialer.end_backoff()

    async def _retire(self, connection: Connection) -> None:
        """Close an old connection after its requests have ended (law 6). Each of them has a deadline."""
        try:
            while any(sent.connection is connection for sent in self._in_flight):
                await asyncio.sleep(0.05)
        finally:
            connection.close()

    async def _watch(self) -> None:
        """End a connection that shows no progress after a heartbeat: it is stuck (law 5)."""
        while True:
            connection = self._connection
            if connection is None:
                await asyncio.sleep(HEARTBEAT_INTERVAL)
                continue
            self._beat(connection)
            await asyncio.sleep(0)  # let it be written
            progress = connection.progress
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            if connection.progress == progress:
                await asyncio.sleep(0.1)  # perhaps this process itself has slept: let it read first
                if connection.progress == progress:  # `end` does nothing if it has ended already
                    connection.end(f"no answer to a heartbeat for {HEARTBEAT_INTERVAL:g}s")

    def _use(self, connection: Connection) -> None: ...

    def _beat(self, connection: Connection) -> None:
        self._heartbeat_at = time.monotonic()
        connection.publish_heartbeat()

    async def close(self) -> None:
        """Refuse new requests, end those in flight, and close the connection (law 10). The HTTP side has drained
        before. Idempotent."""
        self._closing = True
        await self._tasks.close()
        if self._connection is not None:
            self._connection.end("shutting down")
        for sent in list(self._in_flight):
            self._settle(sent.token, ConnectionLost())
