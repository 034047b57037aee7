"""The ring of a tail, and callers who come to it from the past: each gets every message from its position on, once and
in order, or is ended before the first that it can't take."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from app.formats.messages import Reply
from app.nats.feed import Feed
from app.nats.jetstream import Stored
from app.nats.tails import Tail, write

if TYPE_CHECKING:
    from app.nats.feeds import Feeds


RING, BATCH = 8, 5  # messages: small, so that every border is met


@dataclass(frozen=True, slots=True)
class NumberWriter:
    """Writes a message as its sequence."""

    def write(self, _message: Reply, sequence: int | None = None) -> bytes:
        return b"%d," % (sequence or 0)

    def write_gap(self, _facts: Mapping[str, object]) -> bytes:
        return b"gap,"


@dataclass(slots=True)
class Caller:
    """Someone who reads the stream until the ring goes on from there."""

    start: int
    position: int
    feed: Feed = field(default_factory=lambda: Feed(NumberWriter(), Counter(), can_resume=True))
    seen: list[int] = field(default_factory=list)
    is_attached: bool = False

    def take(self) -> None:
        self.seen += [int(number) for number in self.feed.take().split(b",")[:-1]]


def store(sequence: int) -> Stored:
    return Stored(sequence, Reply(b"", b""))


@dataclass(slots=True)
class World:
    """A stream, its tail, and callers. The stream has other subjects too, so sequences have holes."""

    tail: Tail
    stored: list[int] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    heard: int = 0
    """How many messages the tail has got."""

    def publish(self, hole: int) -> None:
        self.stored.append((self.stored[-1] if self.stored else 0) + hole)

    def burst(self, count: int) -> None:
        for _ in range(count):
            self.publish(1)

    def come(self, start: int) -> None:
        start = min(start, (self.stored[-1] if self.stored else 0) + 1)  # `choose_position` allows no more
        self.callers.append(Caller(start, start))

    def take(self, number: int) -> None:
        if self.callers:
            self.callers[number % len(self.callers)].take()

    def go_on(self, number: int) -> None:
        if self.callers:
            caller = self.callers[number % len(self.callers)]
            caller.take()  # nothing waits when it reads
            self.read(caller)

    def check(self) -> None:
        """Whether each caller has seen what it should, once all have read to the end."""
        self.deliver(len(self.stored))
        for caller in self.callers:
            for _ in range(len(self.stored) // BATCH + 2):
                caller.take()
                self.read(caller)
            caller.take()
            expected = [sequence for sequence in self.stored if sequence >= caller.start]
            if caller.feed.ended is None:
                assert caller.is_attached
                assert caller.seen == expected
            else:
                assert caller.feed.ended == "slow"
                assert caller.seen == expected[: len(caller.seen)]

    def deliver(self, count: int) -> None:
        for sequence in self.stored[self.heard : self.heard + count]:
            self.tail._add(store(sequence))
        self.heard = min(len(self.stored), self.heard + count)

    def read(self, caller: Caller) -> None:
        """What a caller does that is not attached: first it tries to, then it reads a batch."""
        if not caller.is_attached and caller.feed.ended is None:
            caller.is_attached = self.tail.attach(caller.feed, caller.position)
        if caller.is_attached:
            return
        batch = [sequence for sequence in self.stored if sequence >= caller.position][:BATCH]
        for sequence in batch:
            caller.feed.put(*write(caller.feed.writer, store(sequence)))
            caller.position = sequence + 1
        if not batch:
            caller.is_attached = self.tail.attach(
                caller.feed, max(caller.position, self.tail.after + 1), is_current=self.heard == len(self.stored)
            )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 5)),
        st.tuples(st.just("burst"), st.integers(1, 2 * RING)),
        st.tuples(st.just("deliver"), st.integers(1, 2 * RING)),
        st.tuples(st.just("come"), st.integers(0, 100)),
        st.tuples(st.just("go_on"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(steps)
def test_nobody_misses_a_message_or_gets_one_twice(given_steps: list[tuple[str, int]]) -> None:
    with patch("app.nats.tails.RING", RING), patch("app.nats.feed.MAX_WAITING", RING):
        asyncio.run(_try(given_steps))


async def _try(given_steps: list[tuple[str, int]]) -> None:
    world = World(Tail(cast("Feeds", None), "S", "s"))
    for what, number in given_steps:
        getattr(world, what)(number)
    world.check()
