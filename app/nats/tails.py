"""The ends of JetStream streams, for callers who stay.

Laws:
1. All callers of one stream and subject share one consumer, the tail. It keeps its latest messages in a ring.
2. A caller gets every message from its position on, once and in order. It reads from the stream until it has come to
   the ring. Then it takes what the ring has, and follows the tail.
3. The tail goes on behind its last message after any interruption: nothing is left out, and nothing comes twice. What
   the stream has lost meanwhile is a gap for every caller.
4. A caller who is too slow is ended. It can come again with the sequence of its last message, and miss nothing.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from ..errors import GatewayError
from ..formats.messages import Reply, name_subject
from .feed import Feed, Writer
from .jetstream import Stored, StreamInfo, make_consumer, read_info, read_numbers, write_deletion

if TYPE_CHECKING:
    from .feeds import Feeds

RING, RING_BYTES = 256, 512 * 1024  # messages that a tail keeps, and their bytes; a queue has room for them
HEARTBEAT = 2.0  # seconds between two signs of life of a consumer without messages
PATIENCE = 2.5 * HEARTBEAT  # seconds without one until the consumer is made again
PAUSE = 0.5  # seconds between two attempts to follow a stream

_log = structlog.get_logger("nats-http.streams")


class Tail:
    """The end of one stream for one subject. `last` is the sequence up to which it has seen all messages, and `after`
    the one behind which the ring has all of them."""

    def __init__(self, feeds: "Feeds", stream: str, subject: str) -> None:
        self.stream = stream
        self.subject = subject
        self.after = self.last = 0
        self.info: StreamInfo | None = None
        self._feeds = feeds
        self._ring: deque[Stored] = deque()
        self._ring_bytes = 0
        self._groups: dict[Writer, dict[Feed, None]] = {}
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._broken = asyncio.Event()
        self._expected = 1
        self._heard = 0.0
        self._has_failed = False

    # Callers

    async def join(self) -> None:
        """Begin to use the tail. Returns once it follows its stream. Raises StreamUnavailable. Call `leave` in the
        end."""
        self._users += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        await asyncio.shield(self._ready)

    def leave(self, feed: Feed | None) -> bool:
        """The end of a caller, with its feed if it has one. Returns whether nobody uses the tail any more: then it has
        ended."""
        if feed is not None:
            group = self._groups.get(feed.writer, {})
            group.pop(feed, None)
            if not group:
                self._groups.pop(feed.writer, None)
        self._users -= 1
        if self._users == 0 and self._task is not None:
            self._task.cancel()
            self._task = None
        return self._users == 0

    def attach(self, feed: Feed, position: int, *, is_current: bool = False) -> bool:
        """Give a caller all messages from this sequence on, from now on. Returns False if the ring does not reach back
        so far, or if the tail itself has not come so far: then the caller reads the stream first. `is_current` says
        that the stream has no message that the tail does not have."""
        if position <= self.after or (position > self.last + 1 and not is_current):
            return False
        for stored in self._ring:
            if stored.sequence >= position:
                _put(feed, stored)
        self._groups.setdefault(feed.writer, {})[feed] = None
        return True

    def note_lost(self) -> None:
        """The connection is lost: make a new consumer on the next one."""
        self._broken.set()

    def list_feeds(self) -> list[Feed]:
        return [feed for group in self._groups.values() for feed in group]

    # The stream

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
                self._has_failed = False
            except GatewayError as error:
                self._note_failure(error)
            except Exception:
                _log.exception("stream-broken", stream=self.stream)
            await asyncio.sleep(PAUSE)

    def _note_failure(self, error: GatewayError) -> None:
        """The stream can't be followed now. Callers who wait for the first time get the error; others a gap, once."""
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()
            self._ready = asyncio.get_running_loop().create_future()
        if not self._has_failed:
            self._has_failed = True
            for feed in self.list_feeds():
                feed.note_gap({"cause": "unavailable"})
            _log.warning("stream-unavailable", stream=self.stream, reason=error.detail)

    async def _follow(self) -> None:
        """Follow the stream until something is wrong."""
        info = await read_info(self._feeds.link, self.stream)
        self._compare(info)
        self.info = info
        deliver = f"_INBOX.{secrets.token_hex(11)}"
        self._broken.clear()
        self._expected, self._heard = 1, time.monotonic()
        sid = self._feeds.listen(deliver, self._take)
        name: str | None = None
        try:
            name = await make_consumer(
                self._feeds.link,
                self.stream,
                self.subject,
                deliver=deliver,
                sequence=self.last + 1,
                heartbeat=HEARTBEAT,
            )
            if not self._ready.done():
                self._ready.set_result(None)
            while not self._broken.is_set() and time.monotonic() - self._heard < PATIENCE:
                try:
                    await asyncio.wait_for(self._broken.wait(), PATIENCE / 5)
                except TimeoutError:
                    continue
        finally:
            self._feeds.unlisten(sid)
            if name is not None:
                self._feeds.publish(write_deletion(self.stream, name))

    def _compare(self, info: StreamInfo) -> None:
        """Note what the stream has lost since it was last looked at."""
        before = self.info
        if before is None:
            self.after = self.last = info.last
        elif info.created != before.created or info.last < self.last:
            self._reset(info.first - 1, {"cause": "reset"})
        elif info.first > self.last + 1:
            self._reset(info.first - 1, {"cause": "purged", "first": self.last + 1, "last": info.first - 1})

    def _reset(self, last: int, gap: Mapping[str, object]) -> None:
        self._ring.clear()
        self._ring_bytes = 0
        self.after = self.last = last
        for feed in self.list_feeds():
            feed.note_gap(gap)

    def _take(self, subject: bytes, reply: bytes, message: Reply) -> None:
        """Take a message of the consumer, or a sign of life."""
        self._heard = time.monotonic()
        numbers = read_numbers(reply)
        if numbers is None:
            return
        if numbers.of_consumer != self._expected:
            self._broken.set()
        if not self._broken.is_set():
            self._expected += 1
            self._add(Stored(numbers.of_stream, name_subject(message, subject, self.subject)))

    def _add(self, stored: Stored) -> None:
        self.last = stored.sequence
        self._ring.append(stored)
        self._ring_bytes += _measure(stored)
        while len(self._ring) > RING or self._ring_bytes > RING_BYTES:
            oldest = self._ring.popleft()
            self._ring_bytes -= _measure(oldest)
            self.after = oldest.sequence
        for writer, group in list(self._groups.items()):
            event, counted_as = write(writer, stored)
            for feed in [feed for feed in group if not feed.put(event, counted_as)]:
                group.pop(feed)


def _measure(stored: Stored) -> int:
    return len(stored.message.headers) + len(stored.message.payload)


def write(writer: Writer, stored: Stored) -> tuple[bytes, str]:
    """The event of a message with its sequence, and what it counts as."""
    try:
        return writer.write(stored.message, stored.sequence), "events"
    except UnicodeDecodeError:
        return writer.write_gap({"cause": "encoding", "first": stored.sequence, "last": stored.sequence}), "encoding"


def _put(feed: Feed, stored: Stored) -> None:
    feed.put(*write(feed.writer, stored))
