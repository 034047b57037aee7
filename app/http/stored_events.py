"""The parts of a JetStream stream: first what the caller has missed, then the tail."""

import asyncio
import time

from ..errors import GatewayError
from ..exchange.positions import Position
from ..nats.feeds import Feeds
from ..nats.history import History
from ..nats.jetstream import Stored
from ..nats.tails import Tail, write
from .events import HEARTBEAT, Events, Opened

PAUSE = 0.25  # seconds until a stream that can't be read is tried again


class Source:
    """Where a caller reads a stream."""

    def __init__(self, feeds: Feeds, tail: Tail, *, is_last: bool) -> None:
        """With `is_last` it begins with the last message of each subject."""
        self.feeds = feeds
        self.tail = tail
        self.history: History | None = History(feeds, tail.stream, tail.subject, is_last=True) if is_last else None

    async def read(self, position: int) -> list[Stored]:
        """Some messages from this sequence on, or none. Raises a GatewayError."""
        if self.history is None:
            self.history = History(self.feeds, self.tail.stream, self.tail.subject)
        found = await self.history.read(position)
        if self.history.is_last and not self.history.has_more:
            self.close()
        return found

    @property
    def is_last(self) -> bool:
        """Whether it still reads only the last message of each subject."""
        return self.history is not None and self.history.is_last

    def close(self) -> None:
        """End the reading. It can begin again."""
        history, self.history = self.history, None
        if history is not None:
            history.close()


class StoredEvents(Events):
    """The parts of a JetStream stream: first what the caller has missed, then the tail."""

    def __init__(self, opened: Opened, source: Source, position: Position) -> None:
        super().__init__(opened)
        self._source = source
        self._position = position.first
        self._created = source.tail.info.created if source.tail.info else ""
        self._is_attached = False
        if position.gap is not None:
            self._feed.note_gap(position.gap)
        self._attach()

    def _attach(self) -> None:
        self._is_attached = self._source.tail.attach(self._feed, self._position)

    async def __anext__(self) -> bytes:
        """As in Events."""
        if self._first is not None or self._is_attached:
            return await super().__anext__()
        since = time.monotonic()
        while not (self._is_attached or self._feed.is_nudged) and time.monotonic() - since < HEARTBEAT:
            self._check_end()
            try:
                await self._read()
            except GatewayError:  # NATS is away, or has no leader: go on when it is back
                await asyncio.sleep(PAUSE)
            if part := self._feed.take():
                return part
        if self._is_attached or self._feed.is_nudged:
            return await super().__anext__()
        return self._writer.write_beat()

    async def _read(self) -> None:
        """Attach to the tail if that goes on from here, else read some messages of the stream. Nothing waits now, so
        that there is room for the ring of the tail."""
        source = self._source
        if not source.is_last:
            self._attach()
        if self._is_attached:
            source.close()
            return
        await self._compare()
        is_last = source.is_last
        for stored in await source.read(self._position):
            self._put(stored)
        if not is_last and not self._feed.size:
            await self._read_one()

    async def _compare(self) -> None:
        """Note what the stream has lost of what this caller wants."""
        info = await self._source.feeds.read_info(self._source.tail)
        if info.created != self._created:
            self._feed.note_gap({"cause": "reset"})
            self._created, self._position = info.created, info.first
        if info.first > self._position:
            self._feed.note_gap({"cause": "purged", "first": self._position, "last": info.first - 1})
            self._position = info.first

    async def _read_one(self) -> None:
        """Read one message, of any size, or attach to the tail if the stream has no more. Only the leader of the stream
        is asked: a consumer can be behind it."""
        stored = await self._source.feeds.read_next(self._source.tail, self._position)
        if stored is None:
            await self._attach_at_the_end()
        else:
            self._put(stored)

    def _put(self, stored: Stored) -> None:
        self._position = stored.sequence + 1
        self._feed.put(*write(self._writer, stored))

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
