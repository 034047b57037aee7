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
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Self

from ..errors import Draining, NotConnected, PermissionDenied, StreamUnavailable, Timeout
from ..formats.messages import Reply
from .connection import HEARTBEAT, Connection
from .credentials import Credentials
from .deliveries import Deliveries, split_token
from .feed import Feed, Take
from .in_flight import InFlightFuture
from .inbox import SID
from .jetstream import Request, Stored, StreamInfo, find_sequence, read_info, read_last, read_next
from .link import Link
from .tails import Tail
from .tasks import Tasks
from .topic import Topic

MAX_READING = 32  # callers who read a stream at the same time


class Feeds:
    """The subscriptions of all callers, at the NATS servers of these URLs. An async context manager: enter it in the
    event loop that it serves. It connects once somebody wants to subscribe, and then stays connected. When
    `drain` is set, all feeds end. `write_time` writes a Unix time for a gap. `counts` gets the number of `events` that
    were given to callers, and of gaps by their cause."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        drain: asyncio.Event,
        write_time: Callable[[float], str],
        credentials: Credentials,
        counts: Counter[str],
    ) -> None:
        self._link = _FeedLink(self, servers, credentials)
        self._write_time = write_time
        self._takers: dict[int, Take] = {}
        """By subscription, what takes its messages: their reply subjects and themselves."""
        self._topics: dict[int, Topic] = {}
        self._tails: dict[tuple[str, str], Tail] = {}
        self.reading = asyncio.Semaphore(MAX_READING)
        """Held while a caller reads a stream."""
        self._by_subject: dict[str, Topic] = {}
        self._next_sid = SID
        self._is_open = False
        self._drain, self._tasks = drain, Tasks()
        self.counts = counts

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions to subjects, and of streams that are followed."""
        return len(self._topics) + len(self._tails)

    @property
    def is_open(self) -> bool:
        """Whether somebody has ever wanted to subscribe, so that there is a connection, or should be one."""
        return self._is_open

    @property
    def link(self) -> Link:
        """The link of the subscriptions, for requests to JetStream."""
        return self._link

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
        feeds = [topic.list_feeds() for topic in self._topics.values()]
        feeds += [tail.list_feeds() for tail in self._tails.values()]
        for feed in chain(*feeds):
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

    def _begin(self, subject: str, deadline: float) -> Topic:
        topic = Topic(subject, self._make_sid())
        self._topics[topic.sid] = self._by_subject[subject] = topic
        self._takers[topic.sid] = topic.take
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
            self.unlisten(topic.sid)

    def _make_sid(self) -> int:
        self._next_sid += 1
        return self._next_sid

    def listen(self, subject: str, take: "Take") -> int:
        """Subscribe for as long as the connection lasts. Returns the id of the subscription, for `unlisten`."""
        sid = self._make_sid()
        self._takers[sid] = take
        self._link.write_subscription(subject, sid)
        return sid

    def unlisten(self, sid: int) -> None:
        """End a subscription."""
        del self._takers[sid]
        self._link.unsubscribe(sid)

    async def follow(self, stream: str, subject: str, deadline: float) -> Tail:
        """The tail of a stream, once it follows the stream. Raises a GatewayError. Call `leave` in the end."""
        if self._drain.is_set():
            raise Draining
        await self._connect(deadline)
        key = stream, subject
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = Tail(self, stream, subject)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await tail.join()
        except TimeoutError:
            self.leave(tail, None)
            raise StreamUnavailable from None
        except BaseException:
            self.leave(tail, None)
            raise
        return tail

    def leave(self, tail: Tail, feed: Feed | None) -> None:
        """End the use of a tail by one caller."""
        if tail.leave(feed) and self._tails.get((tail.stream, tail.subject)) is tail:
            del self._tails[tail.stream, tail.subject]

    async def read_next(self, tail: Tail, position: int) -> Stored | None:
        """The first message of a stream from this sequence on; None if there is none. Raises a GatewayError."""
        async with self.reading:
            return await read_next(self._link, tail.stream, tail.subject, position)

    async def read_last(self, tail: Tail) -> Stored | None:
        """The last message of a stream; None if there is none. Raises a GatewayError."""
        return await read_last(self._link, tail.stream, tail.subject)

    async def find_sequence(self, tail: Tail, since: float) -> int:
        """The sequence of the first message of a stream that is at most so many seconds old. Raises a GatewayError."""
        async with self.reading:
            found, deletion = await find_sequence(self._link, tail.stream, tail.subject, time.time() - since)
        self.publish(deletion)
        return found

    def publish(self, request: Request, reply: str = "") -> None:
        """Send a request, if there is a connection. Its answer goes to `reply`."""
        self._link.write(
            b"PUB %b %b %d\r\n%b\r\n"
            % (request.subject.encode(), reply.encode(), len(request.payload), request.payload)
        )

    async def read_info(self, tail: Tail) -> StreamInfo:
        """Facts about a stream. Raises a GatewayError."""
        async with self.reading:
            return await read_info(self._link, tail.stream)

    def deliver(self, sid: int, subject: bytes, reply: bytes, message: Reply) -> None:
        """Take a message of a subscription."""
        take = self._takers.get(sid)
        if take is not None:
            take(subject, reply, message)

    def renew(self) -> None:
        """Subscribe to all subjects again, on a new connection."""
        for topic in self._topics.values():
            self._link.write_subscription(topic.subject, topic.sid)

    def note_lost(self) -> None:
        """Tell every caller that messages may be missing from now on."""
        for tail in self._tails.values():
            tail.note_lost()
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
        self._last_token = self._last_subject = b""
        self._last_sid = SID

    def _take_reply(self, token: bytes, headers: bytes, payload: bytes) -> None:
        if token == self._last_token:  # most messages of a flood are like the one before
            self._feeds.deliver(self._last_sid, self._last_subject, b"", Reply(headers, payload))
            return
        subject, sid, reply = split_token(token)
        if sid == SID:
            super()._take_reply(subject.rpartition(b".")[2], headers, payload)
            return
        if not reply:
            self._last_token, self._last_sid, self._last_subject = token, sid, subject
        self._feeds.deliver(sid, subject, reply, Reply(headers, payload))

    def _use(self, _connection: Connection) -> None:
        self._feeds.renew()

    def _lose(self, connection: Connection, unwritten: frozenset[bytes], reason: str) -> None:
        was_used = connection is self._connection
        super()._lose(connection, unwritten, reason)
        if was_used:
            self._feeds.note_lost()

    def subscribe(self, topic: Topic, deadline: float) -> None:
        """Subscribe. `topic.ready` is done once the server has taken the subscription, or with the error. A message to
        the own inbox after it tells that: the server reads one after the other."""
        sent = InFlightFuture()
        sent.is_published = True
        sent.future.add_done_callback(topic.take_outcome)
        connection = self._connection
        self.write_subscription(topic.subject, topic.sid)
        subject = connection.inbox.prefix + HEARTBEAT if connection is not None else HEARTBEAT
        self.send(sent, subject.decode("ascii"), b"", b"", deadline)

    def write_subscription(self, subject: str, sid: int) -> None:
        """Subscribe, if there is a connection."""
        self.write(b"SUB %b %d\r\n" % (subject.encode(), sid))

    def unsubscribe(self, sid: int) -> None:
        """End a subscription."""
        self.write(b"UNSUB %d\r\n" % sid)

    def write(self, line: bytes) -> None:
        """Send a command of the protocol, if there is a connection."""
        if self._connection is not None:
            self._connection.outgoing.write(line)
