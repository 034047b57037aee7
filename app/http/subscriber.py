"""Streams of messages, on the ASGI lane."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from starlette.types import Receive

from ..errors import GatewayError, TooManyStreams
from ..exchange.events import EventWriter, choose_form, open_events
from ..exchange.outbound import Outbound, Streaming
from ..exchange.positions import Position, choose_position, find_last_id, read_id
from ..exchange.relay import Relay
from ..exchange.request_fields import find_accept
from ..exchange.responses import Response
from ..nats.feed import End, Feed
from ..nats.feeds import Feeds
from ..nats.jetstream import StreamInfo
from ..nats.shares import Callers
from ..nats.tails import Tail
from ..routing.kinds import Since, Subscribe
from .caller_watch import CallerWatch
from .events import Events, Opened
from .stored_events import Source, StoredEvents


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
    """Opens the streams of routes with `subscribe`. `feeds` are those of each NATS cluster, by its name."""

    def __init__(self, relay: Relay, feeds: Mapping[str, Feeds], streams: Streams, watch: CallerWatch) -> None:
        self._relay = relay
        self._feeds = feeds
        self._streams = streams
        self._watch = watch

    async def open(self, outbound: Outbound, kind: Subscribe, receive: Receive) -> Response | Streaming:
        """The stream, once the server has taken the subscription. Raises CallerGone."""
        form = choose_form(find_accept(outbound.request.headers))
        writer = EventWriter(form, kind.event_header, is_base64=kind.encoding == "base64")
        feed = Feed(writer, self._find_feeds(outbound).counts, can_resume=kind.stream is not None)
        try:
            self._streams.begin(outbound, kind)
        except GatewayError as error:
            return self._relay.finish(outbound, error)
        parts: Events | None = None
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

    async def _open(self, outbound: Outbound, kind: Subscribe, feed: Feed, writer: EventWriter) -> Events:
        """Subscribe, or follow the stream. Raises a GatewayError."""
        feeds, subject = self._find_feeds(outbound), outbound.subject
        ending, end = _find_end(outbound, kind), partial(self._streams.end, outbound, kind)
        if kind.stream is None:
            await feeds.open(subject, feed, outbound.deadline)
            return Events(Opened(feed, writer, *ending, (partial(feeds.close, subject, feed), end)))
        tail = await feeds.follow(kind.stream, subject, outbound.deadline)
        leave = partial(feeds.leave, tail, feed)
        last_id = find_last_id(outbound.request)
        try:
            position = await self._find_position(feeds, last_id, kind, tail)
        except BaseException:
            leave()
            raise
        source = Source(feeds, tail, is_last=kind.start == "last_per_subject" and read_id(last_id) is None)
        return StoredEvents(Opened(feed, writer, *ending, (leave, end, source.close)), source, position)

    def _find_feeds(self, outbound: Outbound) -> Feeds:
        return self._feeds[outbound.route.nats]

    async def _find_position(self, feeds: Feeds, last_id: str | None, kind: Subscribe, tail: Tail) -> Position:
        info = await feeds.read_info(tail)
        start = info.first if read_id(last_id) is not None else await _find_start(feeds, kind, tail, info)
        return choose_position(last_id, first=info.first, last=max(info.last, tail.last), start=start)


async def _find_start(feeds: Feeds, kind: Subscribe, tail: Tail, info: StreamInfo) -> int:
    """The first sequence for a caller who does not say where it was."""
    if isinstance(kind.start, Since):
        return await feeds.find_sequence(tail, kind.start.seconds)
    if kind.start == "last":
        found = await feeds.read_last(tail)
        return found.sequence if found else tail.last + 1
    return tail.last + 1 if kind.start == "new" else info.first


def _find_end(outbound: Outbound, kind: Subscribe) -> tuple[float, End]:
    """The instant at which the stream ends, and why: its time is over, or the token of its caller has expired."""
    by_duration = time.monotonic() + kind.max_duration
    identity = outbound.request.identity
    expiry = identity.claims.get("exp") if identity else None
    if not isinstance(expiry, int | float) or isinstance(expiry, bool):
        return by_duration, "duration"
    by_expiry = time.monotonic() + expiry - time.time()
    return (by_expiry, "expired") if by_expiry < by_duration else (by_duration, "duration")
