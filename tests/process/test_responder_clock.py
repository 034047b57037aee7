"""`python -m responders.clock` on real servers, also behind the leaf node of the containers."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType
from nats.js.errors import NotFoundError

from app.commands.embedded import find_nats_server
from tests.harness import PATIENCE, NatsServer, connect, reserve_port
from tests.process.programs import PROGRAM, Process, run, wait_until_ready

DEPLOY = Path(__file__).parents[2] / "deploy"
CLOCK = [sys.executable, "-m", "responders.clock"]

WORKER = """
from responders._lifecycle import Endpoint, run
async def answer(request): return b""
async def work(client): raise ValueError("it broke")
run(name="a", version="0.1.0", description="A test.", endpoints=[Endpoint("a", "a", answer)], work=work)
"""


@contextmanager
def run_clock(url: str, log: Path) -> Iterator[Process]:
    with run(CLOCK, log, NATS_URL=url) as clock:
        clock.find("(connected server=)")
        yield clock


@pytest.fixture
def clock(own_nats: NatsServer, tmp_path: Path) -> Iterator[Process]:
    with run_clock(own_nats.url, tmp_path / "clock.log") as clock:
        yield clock


@pytest.fixture
async def nc(own_nats: NatsServer) -> AsyncIterator[Client]:
    async with connect(own_nats.url) as client:
        yield client


def parse_time(payload: bytes) -> datetime:
    return datetime.strptime(json.loads(payload)["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


async def wait_for_ticks(nc: Client, least: int) -> list[datetime]:
    """The times in the stream, once it has so many."""
    jetstream, end = nc.jetstream(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            state = (await jetstream.stream_info("CLOCK")).state
        except NotFoundError:
            state = None
        if state and state.messages >= least:
            numbers = range(state.first_seq, state.last_seq + 1)
            return [parse_time((await jetstream.get_msg("CLOCK", number)).data or b"") for number in numbers]
        await asyncio.sleep(0.05)
    raise AssertionError("the stream has too few ticks")


async def test_it_answers_with_the_time(nc: Client, clock: Process) -> None:
    told = parse_time((await nc.request("clock.now", timeout=PATIENCE)).data)
    assert abs((datetime.now(UTC) - told).total_seconds()) < PATIENCE


async def test_each_tick_is_published_once_and_later_than_the_one_before(nc: Client, clock: Process) -> None:
    sub = await nc.subscribe("clock.tick")
    times = [parse_time((await sub.next_msg(timeout=PATIENCE)).data) for _ in range(4)]
    assert all(first < second for first, second in pairwise(times))


async def test_the_stream_has_the_ticks_of_an_hour_in_memory(nc: Client, clock: Process) -> None:
    await wait_for_ticks(nc, 1)
    config = (await nc.jetstream().stream_info("CLOCK")).config
    assert (config.max_msgs, config.storage, config.subjects) == (3600, StorageType.MEMORY, ["clock.tick"])


async def test_with_two_clocks_the_stream_has_each_time_once(
    nc: Client, clock: Process, own_nats: NatsServer, tmp_path: Path
) -> None:
    with run_clock(own_nats.url, tmp_path / "second.log"):
        times = await wait_for_ticks(nc, len(await wait_for_ticks(nc, 1)) + 3)
    assert len(set(times)) == len(times)


async def test_a_stream_that_somebody_deletes_is_made_again(nc: Client, clock: Process) -> None:
    await wait_for_ticks(nc, 1)
    await nc.jetstream().delete_stream("CLOCK")
    assert await wait_for_ticks(nc, 1)


async def test_it_ticks_again_when_the_server_is_back_and_ends_at_a_signal(
    own_nats: NatsServer, clock: Process
) -> None:
    async with connect(own_nats.url) as client:
        await wait_for_ticks(client, 1)
    own_nats.kill()
    own_nats.start()
    async with connect(own_nats.url) as client:
        assert await wait_for_ticks(client, 1)
    assert clock.stop() == 0
    assert "Traceback" not in clock.log


def test_work_that_fails_is_logged_and_begins_again_on_a_new_connection(own_nats: NatsServer, tmp_path: Path) -> None:
    with run([sys.executable, "-c", WORKER], tmp_path / "log", NATS_URL=own_nats.url) as worker:
        worker.find("(?s)(connected server=.* trouble reason=it broke.* connected server=)")
        assert worker.stop() == 0


def test_without_jetstream_it_ticks_all_the_same(tmp_path: Path) -> None:
    with ExitStack() as programs:
        port = programs.enter_context(reserve_port())
        command = [find_nats_server(), "-a", "127.0.0.1", "-p", str(port)]
        programs.enter_context(run(command, tmp_path / "nats.log")).find("(Server is ready)")
        programs.enter_context(run_clock(f"nats://127.0.0.1:{port}", tmp_path / "clock.log"))
        asyncio.run(see_two_ticks(f"nats://127.0.0.1:{port}"))


async def see_two_ticks(url: str) -> None:
    async with connect(url) as client:
        sub = await client.subscribe("clock.tick")
        for _ in range(2):
            await sub.next_msg(timeout=PATIENCE)


def test_in_the_containers_a_gateway_at_a_node_reads_the_stream_of_the_leaf(tmp_path: Path) -> None:
    """With the configuration of both servers, but for their ports and the folder."""
    with ExitStack() as programs:
        ports = {name: str(programs.enter_context(reserve_port())) for name in ("node", "leaf", "leafs", "cluster")}
        node = replace_all((DEPLOY / "node.conf").read_text(), {"4222": ports["node"], "7422": ports["leafs"]})
        node = replace_all(node, {"http_port: 8222": "host: 127.0.0.1", "6222": ports["cluster"]})
        leaf = replace_all((DEPLOY / "storage.conf").read_text(), {"4222": ports["leaf"], "/tmp/nats": str(tmp_path)})  # noqa: S108
        leaf = replace_all(leaf, {"http_port: 8222": "host: 127.0.0.1", "nats:7422": f"127.0.0.1:{ports['leafs']}"})
        for name, config in (("node", node), ("leaf", leaf)):
            (tmp_path / f"{name}.conf").write_text(config)
            command = [find_nats_server(), "-c", str(tmp_path / f"{name}.conf")]
            server = programs.enter_context(run(command, tmp_path / f"{name}.log"))
            server.find("(Server is ready)")
        server.find("(Leafnode connection created)")
        programs.enter_context(run_clock(f"nats://127.0.0.1:{ports['leaf']}", tmp_path / "clock.log"))
        command = [*PROGRAM, "serve", "app/routefile/examples.yaml", "--port", "0"]
        gateway = programs.enter_context(
            run(command, tmp_path / "gateway.log", NATS_URL=f"nats://127.0.0.1:{ports['node']}")
        )
        url = gateway.find(r'"address":"(http://[^"]+)"')
        wait_until_ready(url)
        wait_until_ready(url, path="/clock")
        with httpx.stream("GET", f"{url}/clock/ticks", timeout=PATIENCE, trust_env=False) as response:
            assert response.status_code == 200, response.read()
            assert next(line for line in response.iter_lines() if line.startswith("id: "))


def replace_all(text: str, new: dict[str, str]) -> str:
    for word, other in new.items():
        assert word in text
        text = text.replace(word, other)
    return text
