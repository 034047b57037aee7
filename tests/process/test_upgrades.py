"""One gateway after the other on a socket that somebody keeps open: under load no request fails, and no stream has a
gap."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from nats.js.api import StreamConfig

from app.http.sockets import bind
from tests.harness import NO_TLS, PATIENCE, NatsServer, connect, eventually, responder
from tests.process.load import loading
from tests.process.programs import PROGRAM, Process, run, wait_until_ready
from tests.process.test_serve import greet
from tests.systemd import Service, listen_to, run_service

SERVE = [*PROGRAM, "serve"]
KEEP_PORT = Path(__file__).parents[2] / "deploy" / "keep_port.py"
CALLERS = 8  # of each kind
ENOUGH = 200  # requests between two steps
TIMES = 3
ENDS = 2  # of a stream, each of which costs two seconds
STREAM = """
version: 1
routes:
  - {name: greet, method: GET, path: "/greet/{name}", subject: "greet.{name}"}
  - {name: numbers, method: GET, path: /numbers, subscribe: numbers, stream: NUMBERS, start: all}
"""


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.soak)])
async def test_a_restart_on_a_given_socket_fails_no_request(tmp_path: Path, own_nats: NatsServer, workers: str) -> None:
    """As `systemctl restart`: the next gateway starts when the one before it has exited."""
    variables = {"NATS_URL": own_nats.url, "GATEWAY_WORKERS": workers}
    with ExitStack() as stack, bind("127.0.0.1", 0) as listener:
        ear = stack.enter_context(listen_to(f"@{tmp_path}"))

        def start(number: int) -> Service:
            log = tmp_path / f"{number}.log"
            started = stack.enter_context(run_service(SERVE, log, variables, ear=ear, sockets={"main": listener}))
            ear.wait_for("READY=1")
            return started

        async with responder(own_nats.url, "greet.*", greet):
            gateway = await asyncio.to_thread(start, 0)
            async with loading(listener.getsockname()[1], CALLERS) as load:
                for number in range(1, TIMES + 1):
                    await load.wait_for_more(ENOUGH)
                    assert await asyncio.to_thread(gateway.stop) == 0
                    gateway = await asyncio.to_thread(start, number)
                await load.wait_for_more(ENOUGH)
    print(load)  # docs/upgrades.md has these figures
    assert set(load.answers) == {"good"}


@contextmanager
def keep_port(folder: Path, nats: NatsServer, port: int) -> Iterator[Process]:
    """`keep_port.py` with a gateway. Whatever happens, it is asked to stop: one that is killed leaves its gateway."""
    routes = folder / "routes.yaml"
    routes.write_text(STREAM)
    command = [sys.executable, str(KEEP_PORT), "127.0.0.1", str(port), *SERVE, str(routes)]
    with run(command, folder / "log", NATS_URL=nats.url) as keeper:
        try:
            yield keeper
        finally:
            code = keeper.stop()
        assert code == 0


async def replace(keeper: Process) -> None:
    """Until the last gateway has stopped, after the next one serves."""
    stops = keeper.log.count('"event":"stopped"')
    keeper.process.send_signal(signal.SIGHUP)
    await eventually(lambda: keeper.log.count('"event":"stopped"') > stops, timeout=2 * PATIENCE)


async def test_a_gateway_that_is_replaced_fails_no_request(tmp_path: Path, own_nats: NatsServer, port: int) -> None:
    """The next gateway serves before the last one stops."""
    with keep_port(tmp_path, own_nats, port) as keeper:
        async with responder(own_nats.url, "greet.*", greet):
            await asyncio.to_thread(wait_until_ready, f"http://127.0.0.1:{port}")
            async with loading(port, CALLERS) as load:
                for _ in range(TIMES):
                    await load.wait_for_more(ENOUGH)
                    await replace(keeper)
                await load.wait_for_more(ENOUGH)
    print(load)  # docs/upgrades.md has these figures
    assert set(load.answers) == {"good"}
    assert "systemd-not-told" not in keeper.log


@pytest.mark.soak
async def test_a_gateway_whose_successor_does_not_start_goes_on(
    tmp_path: Path, own_nats: NatsServer, port: int
) -> None:
    with keep_port(tmp_path, own_nats, port) as keeper:
        async with responder(own_nats.url, "greet.*", greet):
            await asyncio.to_thread(wait_until_ready, f"http://127.0.0.1:{port}")
            async with loading(port, 1) as load:
                (tmp_path / "routes.yaml").write_text("version: 2\n")
                keeper.process.send_signal(signal.SIGHUP)
                await asyncio.to_thread(keeper.find, r"(routes\.yaml:1:10: version:)")
                await load.wait_for_more(ENOUGH)
                (tmp_path / "routes.yaml").write_text(STREAM)
                await replace(keeper)
                await load.wait_for_more(ENOUGH)
    assert set(load.answers) == {"good"}


@dataclass
class Watcher:
    """Reads a stream as a browser does: after its end it comes again, with the last id that it has."""

    url: str
    numbers: list[int] = field(default_factory=list)
    connections: int = 0

    async def watch(self) -> None:
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            last_id = ""
            while True:
                headers = {"Last-Event-ID": last_id} if last_id else {}
                async with client.stream("GET", self.url, headers=headers) as response:
                    assert response.status_code == 200
                    self.connections += 1
                    events = response.aiter_lines()
                    pause = re.fullmatch(r"retry: (\d+)", await anext(events))
                    assert pause
                    last_id = await self._read(events) or last_id
                await asyncio.sleep(int(pause[1]) / 1000)

    async def _read(self, events: AsyncIterator[str]) -> str:
        """The last id, at the end of the stream. httpx raises an error if the end is not clean."""
        last_id = ""
        async for line in events:
            name, _, value = line.partition(": ")
            assert name in ("", ":", "id", "data"), line  # `:` keeps a quiet stream open; no gap
            if name == "id":
                last_id = value
            if name == "data":
                self.numbers.append(int(value))
        return last_id


async def test_a_stream_is_told_to_come_again_and_has_no_gap(tmp_path: Path, own_nats: NatsServer, port: int) -> None:
    with keep_port(tmp_path, own_nats, port) as keeper:
        async with connect(own_nats.url) as client, asyncio.TaskGroup() as tasks:
            context = client.jetstream()
            await context.add_stream(StreamConfig(name="NUMBERS", subjects=["numbers"]))
            await asyncio.to_thread(wait_until_ready, f"http://127.0.0.1:{port}")
            watcher = Watcher(f"http://127.0.0.1:{port}/numbers")
            watching = tasks.create_task(watcher.watch())
            for number in range(ENDS * 10):
                await context.publish("numbers", str(number).encode())
                if number % 10 == 5:
                    await eventually(lambda: number in watcher.numbers)  # noqa: B023 - it is called here
                    await replace(keeper)
            await eventually(lambda: len(watcher.numbers) >= ENDS * 10)
            watching.cancel()
    assert watcher.numbers == list(range(ENDS * 10))
    assert watcher.connections == ENDS + 1
