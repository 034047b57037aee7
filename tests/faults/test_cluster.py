"""A cluster of three nodes loses a node, or is restarted node by node. All of it under load."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import LATE_WHERE_LOADED, Witness
from tests.harness import NatsServer, connect, run_nats_cluster
from tests.pace import SLOWNESS

NODES = 3
CONFIG = """
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: Sequence[NatsServer]

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    async def find_connected(self, gateway: GatewayProcess) -> NatsServer:
        """The node that the gateway is connected to."""
        address = (await gateway.get("/healthz")).json()["nats_server"]
        return next(node for node in self.nodes if node.url.endswith(f":{address.rpartition(':')[2]}"))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    with run_nats_cluster(tmp_path, NODES, CONFIG) as nodes:
        cluster = Cluster(nodes)
        await wait_until_joined(cluster)
        yield cluster


async def wait_until_joined(cluster: Cluster) -> None:
    """Until each node knows of all."""
    for node in cluster.nodes:
        while True:
            async with connect(node.url) as client:
                if len(client.discovered_servers) >= NODES - 1:
                    break
            await asyncio.sleep(0.05)


class Service:
    """A well-behaved service at one node: on lame duck it subscribes elsewhere first, and answers what it has taken."""

    def __init__(self, witness: Witness, urls: Sequence[str], tasks: asyncio.TaskGroup) -> None:
        self._witness = witness
        self._urls = urls
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self.client = Client()

    async def open(self, urls: Sequence[str]) -> None:
        """Returns when the node knows of the subscription."""
        self.client = client = Client()
        await client.connect(
            list(urls),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0,
            lame_duck_mode_cb=self._take_lame_duck,
            error_cb=ignore,
        )
        await client.subscribe("jobs.*", queue="q", cb=self._take)
        await client.flush()

    async def _take(self, msg: Msg) -> None:
        task = self._tasks.create_task(self._answer(msg))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, msg: Msg) -> None:
        payload = self._witness.note(msg.subject)
        await asyncio.sleep(self._witness.delay)
        with contextlib.suppress(Error):
            await msg.respond(payload)

    async def _take_lame_duck(self) -> None:
        self._tasks.create_task(self._move())

    async def _move(self) -> None:
        stale = self.client
        left = stale.connected_url.netloc if stale.connected_url else ""
        await self.open([url for url in self._urls if not url.endswith(left)])
        subs = list(stale._subs.values())
        for sub in subs:
            await stale._send_unsubscribe(sub._id)  # its own drain forgets what comes until the server has heard of it
        for _ in range(2):  # nats-py writes a PING past what waits for its flusher
            await stale.flush()
        for sub in subs:
            await sub._pending_queue.join()
        await asyncio.gather(*self._running)
        await stale.close()


async def ignore(_: Exception) -> None:
    """What goes wrong with a service's connection is no news."""


@contextlib.asynccontextmanager
async def run_services(
    witness: Witness, at: Sequence[NatsServer], cluster: Cluster, gateway: GatewayProcess
) -> AsyncIterator[None]:
    """One at each of these nodes. The gateway's node knows of them when it is entered."""
    async with asyncio.TaskGroup() as tasks:
        services = [Service(witness, cluster.urls, tasks) for _ in at]
        for service, node in zip(services, at, strict=True):
            await service.open([node.url])
        try:
            while (await gateway.get("/jobs/first")).status_code != 200:
                await asyncio.sleep(0.02)
            yield
        finally:
            for service in services:
                await service.client.close()


async def test_a_rolling_restart_in_lame_duck_mode_fails_no_request(
    tmp_path: Path, cluster: Cluster, report: Report
) -> None:
    witness = Witness(delay=0.02)
    async with (
        run_gateway_process(tmp_path, *cluster.urls) as gateway,
        run_services(witness, cluster.nodes, cluster, gateway),
        gateway.load(timeout=2.0).running() as load,
    ):
        for node in cluster.nodes:
            node.lame_duck()
            await asyncio.to_thread(node.process.wait)
            await asyncio.to_thread(node.start)
            await wait_until_joined(cluster)
            await asyncio.sleep(0.5)
    await load.check(witness)
    assert set(load.count()) == {"200"}
    moves = gateway.process.log.count('"event":"lame-duck"')
    assert moves
    report.add("a cluster restarted node by node in lame duck mode", load, measured=f"moves of the gateway: {moves}")


async def test_the_connected_node_is_killed(tmp_path: Path, cluster: Cluster, report: Report) -> None:
    witness = Witness(delay=0.02)
    async with run_gateway_process(tmp_path, *cluster.urls) as gateway:
        connected = await cluster.find_connected(gateway)
        others = [node for node in cluster.nodes if node is not connected]
        async with run_services(witness, others, cluster, gateway), gateway.load(timeout=1.0).running() as load:
            connected.kill()
            killed = time.monotonic()
            recovery = await load.wait_for_recovery(since=killed)
            await asyncio.sleep(1)
    await load.check(witness)
    assert set(load.count()) <= {"200", "connection-lost (unknown)", "not-connected (no)"}
    assert all(
        answer.began < killed + LATE_WHERE_LOADED for answer in load.failures if answer.slug == "connection-lost"
    )
    assert load.count()["connection-lost (unknown)"] > 0
    assert recovery < SLOWNESS
    report.add("the connected node of a cluster killed", load, measured=f"success again after {recovery:.2f} s")


async def test_another_node_is_killed(tmp_path: Path, cluster: Cluster, report: Report) -> None:
    """Only what its services had taken is lost."""
    witness = Witness(delay=0.02)
    async with run_gateway_process(tmp_path, *cluster.urls) as gateway:
        connected = await cluster.find_connected(gateway)
        other = next(node for node in cluster.nodes if node is not connected)
        at = [node for node in cluster.nodes if node is not connected]
        async with run_services(witness, at, cluster, gateway), gateway.load(timeout=1.0).running() as load:
            other.kill()
            killed = time.monotonic()
            await asyncio.sleep(1 + LATE_WHERE_LOADED)
    await load.check(witness)
    assert set(load.count()) <= {"200", "timeout (unknown)"}
    assert all(answer.began < killed + LATE_WHERE_LOADED for answer in load.failures)
    assert any(answer.began > killed + LATE_WHERE_LOADED for answer in load.answers)
    report.add("another node killed, with services at it", load, measured="only requests at those services may fail")
