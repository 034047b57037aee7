"""Subscriptions for callers who stay: a connection of its own, so that a flood of messages does not delay requests.

Laws:
1. All callers of one subject share one subscription. It begins with the first of them and ends with the last.
2. A caller who can't take its messages within MAX_WAITING and MAX_BYTES gets what has come, then a gap, and then its
   end. No message is left out silently.
3. When the connection is lost, every caller gets a gap at once. Its messages go on when there is a connection again.
4. What a message becomes is written once for all callers who get it in the same form.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, Self

from ..errors import Draining, GatewayError, NotConnected, PermissionDenied, Timeout
from ..formats.messages import Reply
from .connection import HEARTBEAT, Connection
from .credentials import ANONYMOUS, Credentials
from .deliveries import Deliveries, split_token
from .in_flight import InFlightFuture, Outcome
from .inbox import SID
from .link import Link
from .tasks import Tasks

MAX_WAITING = 256  # messages of one caller that it has not taken yet
MAX_BYTES = 1024 * 1024  # of these

End = Literal["slow", "permission-denied", "drain", "duration", "expired"]


class Writer(Protocol):
    """Writes messages in the form of a caller. Equal writers write the same."""

    def write(self, message: Reply) -> bytes:
        """Raises UnicodeDecodeError for a payload that is not text."""

    def write_gap(self, facts: Mapping[str, object]) -> bytes: ...


class Feed:
    """The messages of one caller, as they are to be sent. `ended` is set when no more will come."""

    __slots__ = ("_counts", "_more", "_size", "_waiting", "ended", "events", "writer")

    def __init__(self, writer: Writer, counts: Counter[str]) -> None:
        self.writer = writer
        self._counts = counts
        self.ended: End | None = None
        self.events = 0
        """The number of messages so far."""
        self._waiting: list[bytes] = []
        self._size = 0
        self._more: asyncio.Future[None] | None = None

    def put(self, event: bytes, counted_as: str = "events") -> bool:
        """Add a message. Returns False if there is no room for it: then the feed has ended with a gap."""
        if len(self._waiting) >= MAX_WAITING or self._size + len(event) > MAX_BYTES:
            self.end("slow", {"cause": "slow"})
            return False
        self.events += 1
        self._counts[counted_as] += 1
        self._add(event)
        return True

    def note_gap(self, facts: Mapping[str, object]) -> None:
        """Say that messages may be missing here. There is always room for this."""
        self._counts[str(facts["cause"])] += 1
        self._add(self.writer.write_gap(facts))

    def end(self, reason: End, gap: Mapping[str, object] | None = None) -> None:
        """End the feed, after a gap if there is one. Idempotent."""
        if self.ended is None:
            if gap is not None:
                self.note_gap(gap)
            self.ended = reason
            self.nudge()

    def _add(self, event: bytes) -> None:
        self._waiting.append(event)
        self._size += len(event)
        self.nudge()

    def nudge(self) -> None:
        """Let the consumer go on now, whether there is something to take or not."""
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def more(self) -> asyncio.Future[None]:
        """A future that is done once there is something to take, or the feed has ended."""
        self._more = asyncio.get_running_loop().create_future()
        if self._waiting or self.ended:
            self._more.set_result(None)
        return self._more

    def take(self) -> bytes:
        """All that has come since the last call."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return taken


class _Topic:
    """One subject, its subscription, and the callers who get its messages."""

    def __init__(self, subject: str, sid: int) -> None:
        self.subject = subject
        self.sid = sid
        self.feeds: dict[Writer, dict[Feed, None]] = {}
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the server has taken the subscription, or with the error."""

    def write_subscription(self, connection: Connection) -> None:
        connection.outgoing.write(b"SUB %b %d\r\n" % (self.subject.encode(), self.sid))

    def take_outcome(self, outcome: "asyncio.Future[Outcome]") -> None:
        """Take what became of the subscription."""
        if self.ready.done() or outcome.cancelled():
            return
        result = outcome.result()
        if isinstance(result, GatewayError):
            self.fail(result)
        else:
            self.ready.set_result(None)

    def fail(self, error: GatewayError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # perhaps nobody waits for it any more

    def add(self, feed: Feed) -> None:
        self.feeds.setdefault(feed.writer, {})[feed] = None

    def remove(self, feed: Feed) -> None:
        group = self.feeds.get(feed.writer, {})
        group.pop(feed, None)
        if not group:
            self.feeds.pop(feed.writer, None)

    def list_feeds(self) -> list[Feed]:
        return [feed for group in self.feeds.values() for feed in group]

    def deliver(self, message: Reply) -> None:
        """Give a message to all callers (law 4)."""
        slow: list[Feed] = []
        for writer, group in self.feeds.items():
            counted_as = "events"
            try:
                event = writer.write(message)
            except UnicodeDecodeError:
                counted_as = "encoding"
                event = writer.write_gap({"cause": counted_as})
            slow += [feed for feed in group if not feed.put(event, counted_as)]
        for feed in slow:
            self.remove(feed)


class Feeds:
    """The subscriptions of all callers, at the NATS servers of these URLs. An async context manager: enter it in the
    event loop that it serves. It connects once somebody wants to subscribe, and then stays connected. When
    `drain` is set, all feeds end. `write_time` writes a Unix time for a gap."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        drain: asyncio.Event,
        write_time: Callable[[float], str],
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        self._link = _FeedLink(self, servers, credentials)
        self._write_time = write_time
        self._topics: dict[int, _Topic] = {}
        self._by_subject: dict[str, _Topic] = {}
        self._next_sid = SID
        self._is_open = False
        self._drain = drain
        self._tasks = Tasks()
        self.counts = Counter[str]()
        """The number of `events` that were given to callers, and of gaps by their cause."""

    @property
    def subscriptions(self) -> int:
        return len(self._topics)

    async def __aenter__(self) -> Self:
        self._tasks.open()
        self._tasks.own(self._end_by_drain)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        self._end_all()
        if self._is_open:
            self._is_open = False
            await self._link.close()

    async def _end_by_drain(self) -> None:
        await self._drain.wait()
        self._end_all()

    def _end_all(self) -> None:
        """End all feeds: their callers come again, to another gateway."""
        for topic in self._topics.values():
            for feed in topic.list_feeds():
                feed.end("drain")

    async def open(self, subject: str, feed: Feed, deadline: float) -> None:
        """Subscribe, and return once the server has taken the subscription. Raises a GatewayError. `deadline` is an
        instant of `time.monotonic`. Call `close` in the end."""
        if self._drain.is_set():
            raise Draining
        await self._connect(deadline)
        topic = self._by_subject.get(subject) or self._begin(subject, deadline)
        topic.add(feed)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.shield(topic.ready)
        except TimeoutError:
            self.close(subject, feed)
            raise Timeout.unsent() from None
        except BaseException:
            self.close(subject, feed)
            raise

    async def _connect(self, deadline: float) -> None:
        """Connect, the first time. Raises NotConnected if there is no connection by then, or now."""
        if not self._is_open:
            self._is_open = True
            await self._link.__aenter__()
        while not self._link.has_connected and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self._link.reason is not None:
            raise NotConnected

    def _begin(self, subject: str, deadline: float) -> _Topic:
        self._next_sid += 1
        topic = _Topic(subject, self._next_sid)
        self._topics[topic.sid] = self._by_subject[subject] = topic
        self._link.subscribe(topic, deadline)
        return topic

    def close(self, subject: str, feed: Feed) -> None:
        """End a feed. The last one of a subject ends the subscription. Idempotent."""
        topic = self._by_subject.get(subject)
        if topic is None:
            return
        topic.remove(feed)
        if not topic.feeds:
            del self._by_subject[subject], self._topics[topic.sid]
            self._link.unsubscribe(topic.sid)

    def deliver(self, sid: int, message: Reply) -> None:
        """Take a message of a subscription."""
        topic = self._topics.get(sid)
        if topic is not None:
            topic.deliver(message)

    def renew(self, connection: Connection) -> None:
        """Subscribe to all subjects again, on a new connection."""
        for topic in self._topics.values():
            topic.write_subscription(connection)

    def note_lost(self) -> None:
        """Tell every caller that messages may be missing from now on."""
        facts = {"cause": "disconnect", "since": self._write_time(time.time())}
        for topic in self._topics.values():
            for feed in topic.list_feeds() if topic.ready.done() else ():
                feed.note_gap(facts)

    def note_denied(self, subject: str) -> None:
        """The server refuses a subscription: fail those who wait for it, and end the others."""
        topic = self._by_subject.get(subject)
        if topic is None:
            return
        topic.fail(PermissionDenied())
        for feed in topic.list_feeds():
            feed.end("permission-denied", {"cause": "permission-denied"})


class _FeedLink(Link):
    """A link whose server sends the messages of subscriptions as well."""

    def __init__(self, feeds: Feeds, servers: Sequence[str], credentials: Credentials) -> None:
        super().__init__(
            servers, max_in_flight=2**20, credentials=credentials, inbox=Deliveries, unheard=feeds.note_denied
        )
        self._feeds = feeds

    def _take_reply(self, token: bytes, headers: bytes, payload: bytes) -> None:
        subject, sid = split_token(token)
        if sid == SID:
            super()._take_reply(subject.rpartition(b".")[2], headers, payload)
        else:
            self._feeds.deliver(sid, Reply(headers, payload))

    def _use(self, connection: Connection) -> None:
        self._feeds.renew(connection)

    def _lose(self, connection: Connection, unwritten: frozenset[bytes], reason: str) -> None:
        was_used = connection is self._connection
        super()._lose(connection, unwritten, reason)
        if was_used:
            self._feeds.note_lost()

    def subscribe(self, topic: _Topic, deadline: float) -> None:
        """Subscribe. `topic.ready` is done once the server has taken the subscription, or with the error. A message to
        the own inbox after it tells that: the server reads one after the other."""
        sent = InFlightFuture()
        sent.is_published = True
        sent.future.add_done_callback(topic.take_outcome)
        connection = self._connection
        if connection is not None:
            topic.write_subscription(connection)
        subject = connection.inbox.prefix + HEARTBEAT if connection is not None else HEARTBEAT
        self.send(sent, subject.decode("ascii"), b"", b"", deadline)

    def unsubscribe(self, sid: int) -> None:
        """End a subscription."""
        if self._connection is not None:
            self._connection.outgoing.write(b"UNSUB %d\r\n" % sid)
