"""Streams of a soak: publishers of numbers, and callers that watch them through the gateways."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, pairwise

from nats.errors import Error
from nats.js.api import StreamConfig

from tests.faults.test_streams import PAUSE, Publisher, Reader
from tests.harness import RawPeer, connect
from tests.soak.callers import HOST, Address, choose
from tests.soak.laws import EPOCH, GAP
from tests.soak.plan import PATIENCE

READERS = 6  # of each stream
BETWEEN = 2 * PAUSE  # seconds between two messages to core NATS
STREAMS = {"ORDERS": "orders.*", "STORED": "stored.*", "PAST": "past.*"}
PAST, SIZE = 1000, 1000  # messages of a stream that does not grow, and bytes of each


@dataclass(slots=True)
class Watchers:
    """Readers of both streams. Each comes again whenever its stream ends, to any gateway."""

    addresses: list[Address]
    core: list[Reader] = field(default_factory=list)
    stored: list[Reader] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = [Reader(lambda: self._choose("events")) for _ in range(READERS)]
        self.stored = [Reader(lambda: self._choose("stored")) for _ in range(READERS)]

    def _choose(self, path: str) -> str:
        address = choose(self.addresses)
        return f"http://{HOST}:{address.port}/{path}/a"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They leave when it is left. The next time they go on where they were."""
        readers = [*self.core, *self.stored]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for reader in self.core:
                reader.seen.append(GAP)

    async def wait_for(self, number: int) -> None:
        """Until all readers of JetStream have seen this number. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while any(not reader.seen or reader.seen[-1] < number for reader in self.stored):
                await asyncio.sleep(0.05)

    def count_gaps(self) -> int:
        """How often readers of core NATS were told about a gap, or began again."""
        return sum(pair[1] == GAP != pair[0] for reader in self.core for pair in pairwise(reader.seen))

    def count_events(self) -> int:
        """All events that readers got."""
        return sum(len(reader.seen) - reader.seen.count(GAP) for reader in (*self.core, *self.stored))


async def publish_numbers(urls: Sequence[str]) -> None:
    """To core NATS, for ever. Each connection is a new epoch: what the last one lost, no gateway has seen."""
    for epoch, url in zip(count(), cycle(urls), strict=False):
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with RawPeer.connect(url) as peer:
                pings = asyncio.create_task(peer.next(timeout=24 * 3600))
                try:
                    for number in count(epoch * EPOCH):
                        if pings.done():
                            break
                        text = b"%d" % number
                        peer.write(b"PUB events.a %d\r\n%b\r\n" % (len(text), text))
                        await asyncio.sleep(BETWEEN)
                finally:
                    pings.cancel()
                    await asyncio.gather(pings, return_exceptions=True)
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def publishing(urls: Sequence[str]) -> AsyncIterator[Publisher]:
    """To both streams. When it is left, all numbers below `count` of the publisher are in the stream STORED."""
    publisher = Publisher()
    async with connect(urls[0]) as client:
        core = asyncio.create_task(publish_numbers(urls))
        stored = asyncio.create_task(publisher.store_all(client))
        try:
            yield publisher
        finally:
            publisher.is_stopping = True
            core.cancel()
            await asyncio.gather(core, return_exceptions=True)
            await stored


async def make_streams(url: str, replicas: int) -> None:
    """Until JetStream has made them: a cluster elects a leader first."""
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        for name, subject in STREAMS.items():
            while True:
                with contextlib.suppress(Error, TimeoutError):
                    config = StreamConfig(name=name, subjects=[subject], num_replicas=replicas)
                    await client.jetstream().add_stream(config)
                    break
                await asyncio.sleep(0.1)


async def fill_past(url: str) -> None:
    """The stream that does not grow: callers who read nothing ask for it, so that they cost the same in each part."""
    async with connect(url) as client:
        context = client.jetstream(timeout=PATIENCE)
        for number in range(PAST):
            await context.publish("past.a", b"%d " % number + b"x" * SIZE)


async def wait_until_whole(url: str) -> None:
    """Until each stream has a leader, and all of its copies are up to date. Raises TimeoutError."""
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        for name in STREAMS:
            while True:
                with contextlib.suppress(Error, TimeoutError):
                    cluster = (await client.jetstream(timeout=1).stream_info(name)).cluster
                    peers = cluster.replicas or [] if cluster and cluster.leader else []
                    if peers and all(peer.current and not peer.offline for peer in peers):
                        break
                await asyncio.sleep(0.2)


async def read_orders(url: str) -> dict[int, list[int]]:
    """By message, its sequences in the stream ORDERS."""
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        context = client.jetstream()
        last = (await context.stream_info("ORDERS")).state.messages
        subscription = await context.subscribe("orders.*", stream="ORDERS", ordered_consumer=True)
        found: dict[int, list[int]] = {}
        for _ in range(last):
            message = await subscription.next_msg(timeout=PATIENCE)
            found.setdefault(int(message.data), []).append(message.metadata.sequence.stream)
        return found
