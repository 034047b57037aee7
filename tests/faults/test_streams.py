"""Callers watch streams of messages, while NATS servers and the gateway die. All of it under load.

The law that is checked: the numbers that a caller saw are in order and without a repeat. A number that is missing is
inside a gap that the caller was told of; of a JetStream stream no number is missing.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import StreamConfig

from app.http.lane import LaneName
from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report
from tests.faults.test_cluster import NODES
from tests.harness import PATIENCE, NatsServer, connect, run_nats_cluster

READERS = 200
GAP = -1
PAUSE = 0.02  # seconds between two messages


@dataclass(slots=True)
class Reader:
    """A caller who comes again whenever its stream ends, as an EventSource does."""

    find_url: Callable[[], str]
    seen: list[int] = field(default_factory=list)
    """The numbers in the order in which they came, and GAP for a gap or a new beginning without an id."""
    last_id: str = ""

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await self._read(client)
                if not self.last_id:
                    self.seen.append(GAP)
                await asyncio.sleep(0.1)

    async def _read(self, client: httpx.AsyncClient) -> None:
        headers = {"last-event-id": self.last_id} if self.last_id else {}
        async with client.stream("GET", self.find_url(), headers=headers) as response:
            event: dict[str, str] = {}
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                elif event:
                    self._take(event)
                    event = {}

    def _take(self, event: dict[str, str]) -> None:
        if event.get("event") == "gap":
            self.seen.append(GAP)
        elif "data" in event:
            self.seen.append(int(event["data"]))
            self.last_id = event.get("id", "")


class Publisher:
    """Publishes numbers, in their order."""

    def __init__(self) -> None:
        self.count = 0
        self.is_stopping = False

    async def publish_all(self, client: Client) -> None:
        """To core NATS. What is published without a connection goes nowhere: the readers are told of a gap."""
        while not self.is_stopping:
            with contextlib.suppress(Error):
                if client.is_connected:
                    await client.publish("events.a", b"%d" % self.count)
                    self.count += 1
            await asyncio.sleep(PAUSE)

    async def store_all(self, client: Client) -> None:
        """To JetStream, each number until it is stored; the stream drops what comes twice. A number may be stored
        without an answer, so the last one is sent again too."""
        context = client.jetstream(timeout=1)
        is_sent = False
        while is_sent or not self.is_stopping:
            is_sent = True
            with contextlib.suppress(Error, TimeoutError):
                await context.publish("stored.a", b"%d" % self.count, headers={"Nats-Msg-Id": str(self.count)})
                self.count += 1
                is_sent = False
            await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def watching(find_url: Callable[[], str]) -> AsyncIterator[list[Reader]]:
    readers = [Reader(find_url) for _ in range(READERS)]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    try:
        yield readers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def publishing(work: Callable[[Client], object], publisher: Publisher, *urls: str) -> AsyncIterator[None]:
    async with connect(urls[0]) as client:
        task = asyncio.ensure_future(work(client))  # type: ignore[call-overload] # it is a coroutine
        try:
            yield
        finally:
            publisher.is_stopping = True
            await task


async def wait_for_all(readers: list[Reader], number: int) -> None:
    """Until every reader has a number at least as high."""
    async with asyncio.timeout(2 * PATIENCE):
        while any(max(reader.seen, default=GAP) < number for reader in readers):
            await asyncio.sleep(0.05)


def check_order(seen: list[int]) -> None:
    """The law, for one reader of core NATS."""
    numbers = [number for number in seen if number != GAP]
    assert numbers == sorted(set(numbers))
    for before, after in itertools.pairwise(seen):
        if GAP not in (before, after):
            assert after == before + 1, (before, after)


async def test_core_nats_is_killed_and_frozen(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    publisher = Publisher()
    async with (
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
        watching(lambda: f"{gateway.url}/events/a") as readers,
        publishing(publisher.publish_all, publisher, own_nats.url),
    ):
        await wait_for_all(readers, 50)
        own_nats.kill()
        await asyncio.to_thread(own_nats.start)
        await wait_for_all(readers, publisher.count + 50)
        own_nats.freeze()
        await asyncio.sleep(6)  # longer than the gateway waits for a sign of life
        own_nats.thaw()
        await wait_for_all(readers, publisher.count + 50)
    for reader in readers:
        check_order(reader.seen)
    gaps = sum(reader.seen.count(GAP) for reader in readers)
    assert gaps >= READERS
    numbers = sum(len(reader.seen) for reader in readers) - gaps
    report.add(
        f"core NATS killed, and frozen for 6 s ({lane} lane)",
        measured=f"{READERS} readers: {numbers:,} events of {publisher.count:,} messages, {gaps} gaps",
    )


async def make_stream(url: str, replicas: int) -> None:
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        while True:
            try:
                config = StreamConfig(name="STORED", subjects=["stored.*"], num_replicas=replicas)
                await client.jetstream().add_stream(config)
            except (Error, TimeoutError):  # a cluster elects a leader first
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.timeout(300)
async def test_jetstream_loses_one_node_after_the_other_and_no_number(tmp_path: Path, report: Report) -> None:
    publisher = Publisher()
    with run_nats_cluster(tmp_path, NODES) as nodes:
        urls = [node.url for node in nodes]
        await make_stream(urls[0], NODES)
        async with (
            run_gateway_process(tmp_path, *urls) as gateway,
            watching(lambda: f"{gateway.url}/stored/a") as readers,
        ):
            async with publishing(publisher.store_all, publisher, *urls):
                for node in nodes[1:]:
                    await wait_for_all(readers, publisher.count + 50)
                    node.kill()
                    await wait_for_all(readers, publisher.count + 50)
                    await asyncio.to_thread(node.start)
                nodes[1].freeze()
                await asyncio.sleep(4)
                nodes[1].thaw()
            await wait_for_all(readers, publisher.count - 1)
    for reader in readers:
        assert [number for number in reader.seen if number != GAP] == list(range(publisher.count))
    report.add(
        "nodes of a cluster killed and frozen in turn, JetStream with three replicas",
        measured=f"{READERS} readers saw each of {publisher.count:,} numbers once, in order",
    )


async def test_the_gateway_is_restarted_and_no_number_is_lost(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    publisher, current = Publisher(), list[GatewayProcess]()
    await make_stream(own_nats.url, 1)
    async with (
        watching(lambda: f"{current[-1].url}/stored/a" if current else "http://127.0.0.1:9/") as readers,
        publishing(publisher.store_all, publisher, own_nats.url),
    ):
        for _ in range(4):
            async with run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway:
                current.append(gateway)
                await wait_for_all(readers, publisher.count + 50)
    for reader in readers:
        numbers = [number for number in reader.seen if number != GAP]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 4 * 50
    report.add(
        f"the gateway restarted three times, JetStream ({lane} lane)",
        measured=f"{READERS} readers saw each of {publisher.count:,} numbers once, in order",
    )
