"""The link to NATS: requests out, replies in, and what happens to them when NATS goes. It never lies about delivery.

Laws (docs/adr/0004 says how they are kept):
1. Every request ends exactly once, no later than its deadline.
2. Nothing is sent from a buffer after a reconnect: without a connection a request fails at once as NotConnected.
3. A lost connection fails every request in flight on it at once: ConnectionLost, or NotConnected if still unwritten.
4. No request makes the server answer -ERR: sizes are checked against its live max_payload, subjects by their template.
5. A connection that ended, or that is stuck, is replaced by a new one, for ever, with jittered backoff.
6. Lame duck: a new connection first, then the move; the old one stays until its requests are answered.
7. A denied publish fails its request at once as PermissionDenied.
8. "No responders" is the server's status line, not a service's header.
9. No entry outlives its request; cancelling or abandoning one removes it.
10. HTTP drains first; then `close` refuses what is new as Draining and ends the connection.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
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
from .shares import Share
from .tasks import Tasks

STABLE = 5.0  # seconds after which a connection is taken to be one that lasts
BRIEF = 1.0  # seconds; even on lame duck a connection that was briefer is a reason to wait longer before the next one
HEARTBEAT_INTERVAL = 2.0  # seconds; a connection that is silent for as long again is stuck

_log = structlog.get_logger("nats-http.link")


class Link:
    """An async context manager, to be entered in the event loop that it serves. Connects in the background: entering
    never waits for NATS. `servers` are URLs (ValueError for what is none); durations are seconds. At most
    `max_in_flight` requests are in flight, and `max_per_caller` of one peer address where that is not None."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        max_in_flight: int,
        max_per_caller: int | None = None,
        credentials: Credentials = ANONYMOUS,
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
            lost=self._lose,
        )
        self._dialer = Dialer(servers, credentials=credentials, events=self._events)
        self._connected_at = 0.0
        self._heartbeat_at = 0.0
        self._round_trip: float | None = None
        self.reconnects = 0
        """How often it has connected, after the first time."""
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
        """host:port of the server that the link is connected to."""
        return self._connection.server.address if self._connection else None

    @property
    def server_info(self) -> ServerInfo | None:
        """What that server says of itself."""
        return self._connection.info if self._connection else None

    @property
    def round_trip(self) -> float | None:
        """The seconds that the last heartbeat took to come back, of which there is one every HEARTBEAT_INTERVAL."""
        return self._round_trip if self._connection else None

    @property
    def backlog(self) -> int:
        """Bytes that the server has not taken yet."""
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
        """Send a request now, or refuse it now: then `sent` takes the refusal before this returns. `headers` is a
        header block or empty, `deadline` an instant of `time.monotonic`. Keeps neither, nor the payload."""
        connection = self._connection
        refusal = self._check(connection, len(headers) + len(payload), deadline)
        if refusal is None and connection is not None:
            refusal = self._in_flight.begin(sent, subject, connection, deadline)
            if refusal is None:
                tell = sent.written if sent.wants_written else None
                connection.publish(subject.encode(), sent.token, headers, payload, tell)
                return
        if sent.wants_written:
            sent.written()
        sent.take(refusal or NotConnected())

    async def request(self, subject: str, headers: bytes, payload: bytes, deadline: float) -> Outcome:
        """Send, and wait for the outcome; cancelling abandons the request."""
        sent = InFlightFuture()
        self.send(sent, subject, headers, payload, deadline)
        del payload  # it is let go when it is written
        try:
            return await sent.future
        finally:
            sent.abandon()

    async def gather(self, subject: str, payload: bytes, *, within: float, stall: float, most: int) -> Gathered:
        """Send a request of the gateway's own that many may answer, and wait for the replies: `within` seconds at the
        longest, not for more than `most` messages, and no longer than `stall` seconds after the last one. Takes no
        place from the requests of callers; cancelling abandons it. At most MAX_GATHERINGS at a time."""
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
        """Move to a new connection, as on lame duck: a reload may have raised max_payload, of which nats-server tells
        only new ones. At most once in STABLE seconds, however many bodies are too large."""
        if time.monotonic() - self._connected_at > STABLE:
            self._leaving.set()

    def _take_reply(self, token: bytes, headers: bytes, payload: bytes) -> None:
        is_none = headers and is_no_responders(headers, payload)
        self._settle(token, NoResponders() if is_none else Reply(headers, payload))

    def _take_unclaimed(self, token: bytes) -> None:
        """A heartbeat, or a reply that comes too late."""
        if token == HEARTBEAT:
            self._round_trip = time.monotonic() - self._heartbeat_at

    def _take_refusal(self, token: bytes) -> None:
        self._settle(token, Overloaded(TOO_SLOW))

    def _take_denial(self, connection: Connection, subject: str) -> None:
        # One denial is of one publish. The newest is taken: an older one to the same subject may have been let through.
        for sent in reversed(self._in_flight):
            if sent.subject == subject and sent.connection is connection:
                return self._settle(sent.token, PermissionDenied())
        return None

    def _leave(self, connection: Connection) -> None:
        if connection is self._connection:
            _log.warning("lame-duck", server=connection.server.address)
            self._leaving.set()

    def _lose(self, connection: Connection, unwritten: frozenset[bytes], reason: str) -> None:
        if connection is self._connection:
            self._connection = None
            self._leaving.set()
        if self._connection is None and not self._closing:  # it may have ended before it was taken
            self._dialer.reason = f"{connection.server.address}: {reason}"
            _log.warning("disconnected", server=connection.server.address, reason=reason)
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
            _log.info("connected", server=fresh.server.address)
            self._beat(fresh)
            self.reconnects += self.has_connected
            self.has_connected = True
            if stale is not None:
                self._tasks.own(partial(self._retire, stale))
            await self._leave_or_settle()
            self._dialer.learn([fresh.server, *fresh.servers])

    async def _leave_or_settle(self) -> None:
        """Wait until the connection has to be replaced. One that has lasted ends the backoff; so does one that is still
        there, since the server may wait no longer."""
        try:
            await asyncio.wait_for(self._leaving.wait(), STABLE)
        except TimeoutError:
            self._dialer.end_backoff()
            await self._leaving.wait()
        if self._connection is not None and time.monotonic() - self._connected_at > BRIEF:
            self._dialer.end_backoff()

    async def _retire(self, connection: Connection) -> None:
        """Law 6: the requests in flight on the old connection are answered there; each has a deadline."""
        try:
            while any(sent.connection is connection for sent in self._in_flight):
                await asyncio.sleep(0.05)
        finally:
            connection.close()

    async def _watch(self) -> None:
        """Law 5: a connection that shows no sign of progress after a heartbeat is stuck, and is ended."""
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
                await asyncio.sleep(0.1)  # this process may have been the one that slept: let it read first
                if connection.progress == progress:  # nothing happens where it has ended
                    connection.end(f"no answer to a heartbeat for {HEARTBEAT_INTERVAL:g}s")

    def _beat(self, connection: Connection) -> None:
        self._heartbeat_at = time.monotonic()
        connection.publish_heartbeat()

    async def close(self) -> None:
        """Law 10: take nothing new, end what is in flight, and close. The HTTP side has drained before. Idempotent."""
        self._closing = True
        await self._tasks.close()
        if self._connection is not None:
            self._connection.end("shutting down")
        for sent in list(self._in_flight):
            self._settle(sent.token, ConnectionLost())
