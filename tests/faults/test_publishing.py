"""A stream stores what callers hand in, while NATS servers die. All of it under load.

The law that is checked: a message that was acknowledged is in the stream once, one that was not stored by the answer is
not in it, and one that is repeated with its key until it is acknowledged is in it once.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from app.http.lane import LaneName
from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report
from tests.faults.test_cluster import NODES
from tests.harness import PATIENCE, NatsServer, connect, run_nats_cluster

CALLERS = 16
TIMEOUT = "500ms"


@dataclass(slots=True)
class Senders:
    """Callers that hand in numbers. Odd numbers are repeated with the same key until they are stored."""

    url: str
    answers: dict[int, str] = field(default_factory=dict)
    """By number, what the caller heard first."""
    is_stopping: bool = False
    _next: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        client = httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, trust_env=False)
        async with client, asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._send_all(client))
            try:
                yield
            finally:
                self.is_stopping = True

    async def _send_all(self, client: httpx.AsyncClient) -> None:
        while not self.is_stopping:
            number, self._next = self._next, self._next + 1
            answer = self.answers[number] = await self._send(client, number)
            while number % 2 and answer != "201":
                await asyncio.sleep(0.1)
                answer = await self._send(client, number)

    async def _send(self, client: httpx.AsyncClient, number: int) -> str:
        headers = {"x-request-timeout": TIMEOUT, "idempotency-key": str(number)}
        response = await client.post(f"/orders/{number % 7}", content=b"%d" % number, headers=headers)
        if response.status_code == 201:
            return "201"
        problem = response.json()
        return f"{problem['type'].rpartition('/')[2]} ({problem['delivered']})"

    def check(self, stored: Counter[int]) -> None:
        for number, answer in self.answers.items():
            found = stored[number]
            if number % 2 or answer == "201":
                assert found == 1, (number, answer, found)
            elif answer.endswith("(no)"):
                assert found == 0, (number, answer)
            else:
                assert found <= 1, (number, answer, found)

    def describe(self) -> str:
        counts = Counter(self.answers.values())
        return ", ".join(f"{count:,} × {kind}" for kind, count in counts.most_common())


async def make_stream(url: str, replicas: int) -> None:
    """Until JetStream has made it: a cluster elects a leader first."""
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        while True:
            try:
                config = StreamConfig(name="ORDERS", subjects=["orders.*"], num_replicas=replicas)
                await client.jetstream().add_stream(config)
            except (Error, TimeoutError):
                await asyncio.sleep(0.1)
            else:
                return


async def read_stream(url: str) -> Counter[int]:
    """How often each number is in the stream."""
    async with connect(url) as client, asyncio.timeout(PATIENCE):
        context = client.jetstream()
        while True:
            try:
                return await _read(context)
            except (Error, TimeoutError):  # a new leader is being elected
                await asyncio.sleep(0.1)


async def _read(context: JetStreamContext) -> Counter[int]:
    messages = (await context.stream_info("ORDERS")).state.messages
    subscription = await context.subscribe("orders.*", stream="ORDERS", ordered_consumer=True)
    stored = Counter([int((await subscription.next_msg(timeout=5)).data) for _ in range(messages)])
    await subscription.unsubscribe()
    return stored


async def test_a_server_is_killed_and_started_again(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    await make_stream(own_nats.url, 1)
    async with run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway:
        senders = Senders(gateway.url)
        async with senders.running():
            for _ in range(5):
                await asyncio.sleep(0.4)
                own_nats.kill()
                await asyncio.sleep(0.3)
                await asyncio.to_thread(own_nats.start)
            await wait_for_an_answer(senders, gateway)
    senders.check(await read_stream(own_nats.url))
    assert set(senders.answers.values()) > {"201"}
    report.add(f"a server that is killed and started again, five times ({lane} lane)", measured=senders.describe())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "lane"), [("killed", "fast"), ("frozen for 1.5 s", "asgi")])
async def test_a_cluster_loses_one_node_after_the_other(
    fault: str, lane: LaneName, tmp_path: Path, report: Report
) -> None:
    with run_nats_cluster(tmp_path, NODES) as nodes:
        await make_stream(nodes[0].url, NODES)
        async with run_gateway_process(tmp_path, *(node.url for node in nodes), lane=lane) as gateway:
            senders = Senders(gateway.url)
            async with senders.running():
                for node in nodes:
                    await asyncio.sleep(0.5)
                    await hurt(node, fault)
                    await wait_for_an_answer(senders, gateway)
        senders.check(await read_stream(nodes[0].url))
    report.add(f"each node of a cluster {fault} in turn ({lane} lane)", measured=senders.describe())


async def hurt(node: NatsServer, fault: str) -> None:
    if fault == "killed":
        node.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(node.start)
    else:
        node.freeze()
        await asyncio.sleep(1.5)
        node.thaw()


async def wait_for_an_answer(senders: Senders, gateway: GatewayProcess) -> None:
    """Until a message is stored again."""
    count = list(senders.answers.values()).count("201")
    async with asyncio.timeout(PATIENCE):
        while list(senders.answers.values()).count("201") <= count + CALLERS:
            await asyncio.sleep(0.05)
