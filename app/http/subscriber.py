"""Streams of messages, on the ASGI lane."""

import asyncio
import time
from functools import partial
from typing import Self

from starlette.types import Receive

from ..errors import GatewayError, TooManyStreams
from ..exchange.events import EventWriter, choose_form, open_events
from ..exchange.outbound import Outbound, Streaming
from ..exchange.relay import Relay
from ..exchange.request_fields import find_accept
from ..exchange.responses import Response
from ..nats.feeds import End, Feed, Feeds
from ..nats.shares import Callers
from ..routing.kinds import Subscribe
from .caller_watch import CallerWatch

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
        feed = Feed(writer, self._feeds.counts)
        try:
            self._streams.begin(outbound, kind)
        except GatewayError as error:
            return self._relay.finish(outbound, error)
        is_open = False
        try:
            opening = self._feeds.open(outbound.subject, feed, outbound.deadline)
            await self._watch.wait(asyncio.ensure_future(opening), receive)
            is_open = True
        except GatewayError as error:
            return self._relay.finish(outbound, error)
        finally:
            if not is_open:
                self._streams.end(outbound, kind)
        head = self._relay.finish_many(outbound, open_events(form), is_stream=True)
        return Streaming(response=head, parts=_Events(self, outbound, kind, feed, writer, head), nudge=feed.nudge)

    def close(self, outbound: Outbound, kind: Subscribe, feed: Feed) -> None:
        """End a stream that was opened."""
        self._feeds.close(outbound.subject, feed)
        self._streams.end(outbound, kind)


class _Events:
    """The parts of a stream: its messages, gaps, and signs of life."""

    def __init__(
        self,
        subscriber: Subscriber,
        outbound: Outbound,
        kind: Subscribe,
        feed: Feed,
        writer: EventWriter,
        head: Response,
    ) -> None:
        self._close = partial(subscriber.close, outbound, kind, feed)
        self._feed = feed
        self._writer = writer
        self._head = head
        self._end, self._reason = _find_end(outbound, kind)
        self._first: bytes | None = writer.write_first()
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next part. Raises StopAsyncIteration once the feed has ended, or the time of the stream is over."""
        first, self._first = self._first, None
        if first:
            return first
        more = self._feed.more()
        if not more.done():
            loop = asyncio.get_running_loop()
            left = min(HEARTBEAT, self._end - time.monotonic())
            timer = loop.call_later(max(left, 0.0), _wake, more)
            try:
                await more
            finally:
                timer.cancel()
        if part := self._feed.take():
            return part
        if self._feed.ended is None and time.monotonic() >= self._end:
            self._feed.end(self._reason)
        if self._feed.ended is not None:
            raise StopAsyncIteration
        return self._writer.write_beat()

    async def aclose(self) -> None:
        """Note why the stream has ended, and leave the subscription. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            ended = self._feed.ended or "caller-gone"
            self._head.facts = (("events", str(self._feed.events)), ("stream_ended", ended))
            self._close()


def _wake(more: "asyncio.Future[None]") -> None:
    if not more.done():
        more.set_result(None)


def _find_end(outbound: Outbound, kind: Subscribe) -> tuple[float, End]:
    """The instant at which the stream ends, and why: its time is over, or the token of its caller has expired."""
    by_duration = time.monotonic() + kind.max_duration
    identity = outbound.request.identity
    expiry = identity.claims.get("exp") if identity else None
    if not isinstance(expiry, int | float) or isinstance(expiry, bool):
        return by_duration, "duration"
    by_expiry = time.monotonic() + expiry - time.time()
    return (by_expiry, "expired") if by_expiry < by_duration else (by_duration, "duration")
