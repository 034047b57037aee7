"""The parts of a stream: its messages, gaps, and signs of life."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ..exchange.events import EventWriter
from ..nats.feed import End, Feed

if TYPE_CHECKING:
    from ..exchange.responses import Response

HEARTBEAT = 15.0  # seconds without a message until a caller gets a sign of life


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that was opened. It ends at `end` for `reason`, or before. Then each of `leave` is called once."""

    feed: Feed
    writer: EventWriter
    end: float
    reason: End
    leave: Sequence[Callable[[], object]]


class Events:
    """The parts of a stream: its messages, gaps, and signs of life."""

    def __init__(self, opened: Opened) -> None:
        self.head: Response | None = None
        """The head of the response, which gets the facts for the record at the end."""
        self._opened = opened
        self._feed = opened.feed
        self._writer = opened.writer
        self._first = opened.writer.write_first() or None
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
        if self._last >= self._opened.end:
            self._feed.end(self._opened.reason)
        if part := self._feed.take():
            return part
        self._check_end()
        return self._writer.write_beat()

    def _set_timer(self) -> None:
        """Wake at the end, or when the next sign of life is due."""
        left = min(self._last + HEARTBEAT, self._opened.end) - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._tick)

    def _tick(self) -> None:
        """Look at the time. Parts do not set the timer again, since most come before it."""
        now = time.monotonic()
        if now >= min(self._last + HEARTBEAT, self._opened.end):
            self._last = now
            self._feed.nudge()
        if now < self._opened.end:
            self._set_timer()

    def _check_end(self) -> None:
        """Raises StopAsyncIteration at the end."""
        if self._feed.ended is None and time.monotonic() >= self._opened.end:
            self._feed.end(self._opened.reason)
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
            for leave in self._opened.leave:
                leave()
