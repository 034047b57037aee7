"""Streams of messages, on the ASGI lane."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from starlette.types import Receive

from ..errors import GatewayError, TooManyStreams
from ..exchange.events import EventWriter, choose_form, open_events
from ..exchange.outbound import Outbound, Streaming
from ..exchange.positions import Position, choose_position, find_last_id
from ..exchange.relay import Relay
from ..exchange.request_fields import find_accept
from ..exchange.responses import Response
from ..nats.feed import End, Feed
from ..nats.feeds import Feeds
from ..nats.shares import Callers
from ..nats.tails import Tail, write
from ..routing.kinds import Subscribe
from .caller_watch import CallerWatch

BATCH = 100  # messages that are read before a caller gets them
BATCH_BYTES = 64 * 1024  # the same, in bytes
PAUSE = 0.25  # seconds until a stream that can't be read is tried again
HEARTBEAT = 15.0  # seconds without a message until a caller gets a sign of life


class Streams:
    """Counts the streams that are open: at most `maximum` in all, and of one caller as many as its route allows."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._callers: dict[str, Callers] = {}
        self.open = 0

    def begin(self, outbound: Outbound, kind: Subscribe) -> None:
        """Count a stream. Raises TooManyStreams."""
        if self.open >= self._maximum:
            raise TooManyStreams("The gateway has as many open streams as it may have.")
        if kind.max_streams is not None:
            callers = self._callers.setdefault(outbound.route.name, Callers(kind.max_streams))
            callers.maximum = kind.max_streams
            if not callers.has_room(outbound.request.caller.counted_as):
                raise TooManyStreams("Your address has as many open streams of this route as it may have.")
            callers.begin(outbound.request.caller.counted_as)
        self.open += 1

    def end(self, outbound: Outbound, kind: Subscribe) -> None:
        """The end of a stream that was begun."""
        self.open -= 1
        if kind.max_streams is not None:
            callers = self._callers[outbound.route.name]
            callers.end(outbound.request.caller.counted_as)
            if not len(callers):
                del self._callers[outbound.route.name]


class Subscriber:
    """Opens the streams of routes with `subscribe`."""

    def __init__(self, relay: Relay, feeds: Feeds, streams: Streams, watch: CallerWatch) -> None:
        self._relay = relay
        self._feeds = feeds
        self._streams = streams
        self._watch = watch

    async def open(self, outbound: Outbound, kind: Subscribe, receive: Receive) -> Response | Streaming:
        """The stream, once the server has taken the subscription. Raises CallerGone."""
        form = choose_form(find_accept(outbound.request.headers))
        writer = EventWriter(form, kind.event_header, is_base64=kind.encoding == "base64")
        feed = Feed(writer, self._feeds.counts, can_resume=kind.stream is not None)
        try:
            self._streams.begin(outbound, kind)
        except GatewayError as error:
            return self._relay.finish(outbound, error)
        parts: _Events | None = None
        try:
            opening = self._open(outbound, kind, feed, writer)
            parts = await self._watch.wait(asyncio.ensure_future(opening), receive)
        except GatewayError as error:
            return self._relay.finish(outbound, error)
        finally:
            if parts is None:
                self._streams.end(outbound, kind)
        parts.head = self._relay.finish_many(outbound, open_events(form), is_stream=True)
        return Streaming(response=parts.head, parts=parts, nudge=feed.nudge)

    async def _open(self, outbound: Outbound, kind: Subscribe, feed: Feed, writer: EventWriter) -> "_Events":
        """Subscribe, or follow the stream. Raises a GatewayError."""
        feeds, subject = self._feeds, outbound.subject
        end = partial(self._streams.end, outbound, kind)
        if kind.stream is None:
            await feeds.open(subject, feed, outbound.deadline)
            return _Events(outbound, kind, feed, writer, (partial(feeds.close, subject, feed), end))
        tail = await feeds.follow(kind.stream, subject, outbound.deadline)
        leave = partial(feeds.leave, tail, feed)
        try:
            position = await self._find_position(outbound, kind, tail)
        except BaseException:
            leave()
            raise
        return _StoredEvents(outbound, kind, feed, writer, (leave, end), Source(feeds, tail), position)

    async def _find_position(self, outbound: Outbound, kind: Subscribe, tail: Tail) -> Position:
        info = await self._feeds.read_info(tail)
        last_id = find_last_id(outbound.request)
        start = tail.last + 1
        if kind.start == "all":
            start = info.first
        elif kind.start == "last" and not last_id:
            found = await self._feeds.read_last(tail)
            start = found.sequence if found else start
        return choose_position(last_id, first=info.first, last=max(info.last, tail.last), start=start)


class _Events:
    """The parts of a stream: its messages, gaps, and signs of life."""

    def __init__(
        self,
        outbound: Outbound,
        kind: Subscribe,
        feed: Feed,
        writer: EventWriter,
        leave: Sequence[Callable[[], object]],
    ) -> None:
        self.head: Response | None = None
        """The head of the response, which gets the facts for the record at the end."""
        self._leave = leave
        self._feed = feed
        self._writer = writer
        self._end, self._reason = _find_end(outbound, kind)
        self._first = writer.write_first() or None
        self._last = time.monotonic()
        """The instant of the last part."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next part. Raises StopAsyncIteration once the feed has ended, or the time of the stream is over."""
        first, self._first = self._first, None
        if first:
            return first
        if self._timer is None:
            self._set_timer()
        await self._feed.more()
        self._last = time.monotonic()
        if self._last >= self._end:
            self._feed.end(self._reason)
        if part := self._feed.take():
            return part
        self._check_end()
        return self._writer.write_beat()

    def _set_timer(self) -> None:
        """Wake at the end, or when the next sign of life is due."""
        left = min(self._last + HEARTBEAT, self._end) - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._tick)

    def _tick(self) -> None:
        """Look at the time. Parts do not set the timer again, since most come before it."""
        now = time.monotonic()
        if now >= min(self._last + HEARTBEAT, self._end):
            self._last = now
            self._feed.nudge()
        if now < self._end:
            self._set_timer()

    def _check_end(self) -> None:
        """Raises StopAsyncIteration at the end."""
        if self._feed.ended is None and time.monotonic() >= self._end:
            self._feed.end(self._reason)
        if self._feed.ended is not None:
            raise StopAsyncIteration

    async def aclose(self) -> None:
        """Note why the stream has ended, and leave the subscription. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            ended = self._feed.ended or "caller-gone"
            if self.head is not None:
                self.head.facts = (("events", str(self._feed.events)), ("stream_ended", ended))
            for leave in self._leave:
                leave()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a caller reads a stream."""

    feeds: Feeds
    tail: Tail


class _StoredEvents(_Events):
    """The parts of a JetStream stream: first what the caller has missed, then the tail."""

    def __init__(
        self,
        outbound: Outbound,
        kind: Subscribe,
        feed: Feed,
        writer: EventWriter,
        leave: Sequence[Callable[[], object]],
        source: Source,
        position: Position,
    ) -> None:
        super().__init__(outbound, kind, feed, writer, leave)
        self._source = source
        self._position = position.first
        self._created = source.tail.info.created if source.tail.info else ""
        self._is_attached = False
        if position.gap is not None:
            feed.note_gap(position.gap)
        self._attach()

    def _attach(self) -> None:
        self._is_attached = self._source.tail.attach(self._feed, self._position)

    async def __anext__(self) -> bytes:
        """As in _Events."""
        if self._first is not None or self._is_attached:
            return await super().__anext__()
        since = time.monotonic()
        while not self._is_attached and time.monotonic() - since < HEARTBEAT:
            self._check_end()
            try:
                await self._read()
            except GatewayError:  # NATS is away, or has no leader: go on when it is back
                await asyncio.sleep(PAUSE)
            if part := self._feed.take():
                return part
        return await super().__anext__() if self._is_attached else self._writer.write_beat()

    async def _read(self) -> None:
        """Attach to the tail if that goes on from here, else read some messages of the stream. Nothing waits now, so
        that there is room for the ring of the tail."""
        feeds, tail = self._source.feeds, self._source.tail
        self._attach()
        if self._is_attached:
            return
        info = await feeds.read_info(tail)
        if info.created != self._created:
            self._feed.note_gap({"cause": "reset"})
            self._created, self._position = info.created, info.first
        if info.first > self._position:
            self._feed.note_gap({"cause": "purged", "first": self._position, "last": info.first - 1})
            self._position = info.first
        for _ in range(BATCH):
            stored = await feeds.read_next(tail, self._position)
            if stored is None:
                await self._attach_at_the_end()
                return
            self._position = stored.sequence + 1
            self._feed.put(*write(self._writer, stored))
            if self._position > tail.after or self._feed.size > BATCH_BYTES:
                return

    async def _attach_at_the_end(self) -> None:
        """Attach to the tail if that has all messages, else give it time. The stream has no message for this caller."""
        feeds, tail = self._source.feeds, self._source.tail
        self._position = max(self._position, tail.after + 1)
        self._attach()
        if not self._is_attached:
            is_current = await feeds.read_next(tail, tail.last + 1) is None
            self._is_attached = tail.attach(self._feed, self._position, is_current=is_current)
        if not self._is_attached:
            await asyncio.sleep(PAUSE)


def _find_end(outbound: Outbound, kind: Subscribe) -> tuple[float, End]:
    """The instant at which the stream ends, and why: its time is over, or the token of its caller has expired."""
    by_duration = time.monotonic() + kind.max_duration
    identity = outbound.request.identity
    expiry = identity.claims.get("exp") if identity else None
    if not isinstance(expiry, int | float) or isinstance(expiry, bool):
        return by_duration, "duration"
    by_expiry = time.monotonic() + expiry - time.time()
    return (by_expiry, "expired") if by_expiry < by_duration else (by_duration, "duration")
