"""SIGUSR1, as it comes to the real programs: the log says what they do just now, and nothing ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg

from tests.certificates import Authority
from tests.harness import NO_TLS, PATIENCE, NatsServer, eventually, replying, responder
from tests.process.programs import PROGRAM, Process, find_children, run, wait_until_ready

ROUTES = """\
version: 1
routes:
  - {name: slow, method: GET, path: '/slow/{id}', subject: 'snap.slow.{id}', timeout: 60s, max_timeout: 60s}
  - {name: make, method: POST, path: /make, subject: snap.make, timeout: 20s}
  - {name: ticks, method: GET, path: /ticks, subscribe: snap.ticks}
"""
ADDRESS = r'"address":"(https?://[^"]+)"'
SERVE = [*PROGRAM, "serve", "--port", "0"]
BLOCK = 1 << (signal.SIGUSR1 - 1)

EXTENSION = """
import time

def extend(app):
    async def sleep(request):
        time.sleep(60)
    app.add_route("/sleep", sleep)
"""


def serve(nats: NatsServer, folder: Path) -> tuple[Path, dict[str, str]]:
    path = folder / "routes.yaml"
    path.write_text(ROUTES)
    return folder / "log", {"NATS_URL": nats.url, "GATEWAY_ROUTES": str(path), "GATEWAY_MAX_TIMEOUT": "60s"}


def find_events(gateway: Process, name: str = "snapshot") -> list[dict[str, Any]]:
    lines = [line for line in gateway.log.splitlines() if line.startswith("{") and line.endswith("}")]
    return [event for event in map(json.loads, lines) if event["event"] == name]


def ask(gateway: Process) -> None:
    gateway.process.send_signal(signal.SIGUSR1)


async def take(gateway: Process, is_right: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    """The first snapshot from now on of which this is true; it is asked for again until there is one."""
    end = time.monotonic() + PATIENCE
    while True:
        before = len(find_events(gateway))
        ask(gateway)
        await eventually(lambda: len(find_events(gateway)) > before)  # noqa: B023 - it is over before the next round
        fresh = find_events(gateway)[-1]
        if is_right(fresh):
            return fresh
        assert time.monotonic() < end, fresh


@asynccontextmanager
async def holding(nats: NatsServer, subject: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A service that answers nothing until this function is called."""
    held: list[Msg] = []
    is_free = False

    async def handle(msg: Msg) -> None:
        held.append(msg)
        if is_free:
            await msg.respond(b"done")

    async with responder(nats.url, subject, handle):

        async def free() -> None:
            nonlocal is_free
            is_free = True
            for msg in held.copy():
                await msg.respond(b"done")

        yield free


def make_client(url: str, verify: Any = NO_TLS) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
    return httpx.AsyncClient(base_url=url, trust_env=False, verify=verify, timeout=60, limits=limits)


async def test_it_has_requests_by_route_with_the_age_of_the_oldest_and_no_value_of_a_path_a_query_or_a_body(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    log, environment = serve(own_nats, tmp_path)
    async with AsyncExitStack() as stack:
        gateway = stack.enter_context(run(SERVE, log, **environment, GATEWAY_LOG_LEVEL="info"))
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        free_slow = await stack.enter_async_context(holding(own_nats, "snap.slow.*"))
        free_make = await stack.enter_async_context(holding(own_nats, "snap.make"))
        client = await stack.enter_async_context(make_client(url))
        stream = await stack.enter_async_context(client.stream("GET", "/ticks"))
        assert stream.status_code == 200
        gets = [asyncio.create_task(client.get(f"/slow/secret{number}?q=hidden")) for number in range(200)]
        posts = [asyncio.create_task(client.post("/make", content=b"private")) for _ in range(3)]
        found = await take(gateway, lambda event: bool(event["in_flight"] == 203))
        rows = {row["route"]: row for row in found["requests"]}
        assert (rows["slow"]["count"], rows["slow"]["sent"], rows["slow"]["kind"]) == (200, 200, "request")
        assert (rows["make"]["count"], rows["make"]["sent"]) == (3, 3)
        assert (rows["ticks"]["count"], rows["ticks"]["kind"], found["streams"]) == (1, "subscribe", 1)
        assert found["connections"] >= 204
        older = await take(gateway, lambda event: event["requests"][0]["oldest_ms"] > 1000)
        assert older["requests"][0]["oldest_ms"] > rows[older["requests"][0]["route"]]["oldest_ms"]
        assert (found["phase"], found["pid"], found["level"]) == ("serving", gateway.process.pid, "info")
        assert found["memory_mib"] > 10
        links = {row["link"]: row for row in found["nats"]}
        assert links["requests"].items() >= {"connected": True, "reason": None, "pending": 203, "reconnects": 0}.items()
        assert links["requests"]["server"] in own_nats.url
        assert links["streams"]["subscriptions"] == 1
        assert {"runs": "Link._supervise", "count": 2} in found["tasks"]
        await free_slow()
        await free_make()
        assert {response.status_code for response in await asyncio.gather(*gets, *posts)} == {200}
        calm = await take(gateway, lambda event: bool(event["in_flight"] == 0))
        assert [row["route"] for row in calm["requests"]] == ["ticks"]
        assert calm["idle_connections"] == calm["connections"] - 1 >= 203
        assert not any(word in gateway.log for word in ("secret", "hidden", "private"))
        assert gateway.stop() == 0


async def test_a_request_counts_alike_on_both_lanes(tmp_path: Path, own_nats: NatsServer) -> None:
    log, environment = serve(own_nats, tmp_path)
    async with holding(own_nats, "snap.slow.*") as free:
        with run([*SERVE, "--lane", "asgi"], log, **environment) as gateway:
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            async with make_client(url) as client:
                asking = asyncio.create_task(client.get("/slow/7"))
                found = await take(gateway, lambda event: bool(event["in_flight"]))
                (row,) = found["requests"]
                assert row.items() >= {"route": "slow", "kind": "request", "count": 1, "sent": 1}.items()
                assert row["oldest_ms"] > 0
                await free()
                assert (await asking).status_code == 200


async def test_a_request_whose_body_is_still_coming_was_not_sent(tmp_path: Path, own_nats: NatsServer) -> None:
    log, environment = serve(own_nats, tmp_path)
    with run(SERVE, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /make HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        found = await take(gateway, lambda event: bool(event["requests"]))
        assert found["requests"][0].items() >= {"route": "make", "count": 1, "sent": 0}.items()
        assert (found["in_flight"], found["connections"] - found["idle_connections"]) == (0, 1)
        writer.close()


async def test_dev_answers_too_and_no_part_of_it_ends(tmp_path: Path) -> None:
    command = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0", "--examples"]
    with run(command, tmp_path / "log", GATEWAY_LOG_FORMAT="json") as gateway:
        url = gateway.find(r"gateway   (http://\S+)")
        for pid in (gateway.process.pid, *find_children(gateway.process.pid, ".")):
            os.kill(pid, signal.SIGUSR1)
        await eventually(lambda: find_events(gateway))
        async with make_client(url) as client:
            assert (await client.get("/greet/sue")).json() == {"message": "hello, sue"}
        assert gateway.stop() == 0


async def test_it_says_why_there_is_no_connection_to_nats(tmp_path: Path, own_nats: NatsServer) -> None:
    log, environment = serve(own_nats, tmp_path)
    environment["NATS_URL"] = own_nats.url.replace("//", "//user:hunter2@")
    with run(SERVE, log, **environment, GATEWAY_LOG_LEVEL="error") as gateway:  # it is written at any level
        await eventually(lambda: is_blocked(gateway.process.pid))
        found = await take(gateway, lambda event: bool(event["nats"][0]["connected"]))
        own_nats.kill()
        found = await take(gateway, lambda event: not event["nats"][0]["connected"])
        (link,) = found["nats"]
        assert (link["server"], link["for_seconds"], link["pending"], link["backlog_bytes"]) == (None, None, 0, 0)
        assert "connection" in link["reason"]
        assert "hunter2" not in gateway.log
        own_nats.start()
        again = await take(gateway, lambda event: bool(event["nats"][0]["connected"]))
        assert again["nats"][0]["reconnects"] == 1


async def test_a_signal_to_the_parent_reaches_all_workers_and_one_to_a_worker_only_that(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    log, environment = serve(own_nats, tmp_path)
    with run([*SERVE, "--workers", "2"], log, **environment) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        gateway.wait_for_connections(2)
        ask(gateway)
        await eventually(lambda: len(find_events(gateway)) == 3)
        (parent,) = [event for event in find_events(gateway) if event["phase"] == "parent"]
        workers = {row["pid"] for row in parent["workers"]}
        assert workers == {event["pid"] for event in find_events(gateway) if event["phase"] == "serving"}
        assert [row["worker"] for row in parent["workers"]] == ["worker 1", "worker 2"]
        one, other = workers
        os.kill(one, signal.SIGUSR1)
        await eventually(lambda: len(find_events(gateway)) == 4)
        assert find_events(gateway)[-1]["pid"] == one
        os.kill(other, signal.SIGUSR1)
        await eventually(lambda: len(find_events(gateway)) == 5)
        assert find_events(gateway)[-1]["pid"] == other
        assert gateway.stop() == 0


async def test_a_hundred_signals_in_a_second_are_answered_together_and_fail_no_request(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    log, environment = serve(own_nats, tmp_path)
    async with responder(own_nats.url, "snap.slow.*", replying(b"x")):
        with run([*SERVE, "--workers", "2"], log, **environment) as gateway:
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            gateway.wait_for_connections(2)
            began = time.monotonic()
            async with make_client(url) as client:
                for _ in range(100):
                    ask(gateway)
                    assert (await client.get("/slow/7")).status_code == 200
                    await asyncio.sleep(0.01)
            parents = [event for event in find_events(gateway) if event["phase"] == "parent"]
            assert 1 <= len(parents) <= time.monotonic() - began + 1
            assert gateway.stop() == 0


@pytest.mark.parametrize(
    "more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)], ids=["one process", "workers"]
)
async def test_a_gateway_that_starts_survives_it_and_answers_when_it_serves(
    tmp_path: Path, own_nats: NatsServer, more: tuple[str, ...]
) -> None:
    log, environment = serve(own_nats, tmp_path)
    with run([*SERVE, *more], log, **environment) as gateway:
        await eventually(lambda: is_blocked(gateway.process.pid))
        while '"listening"' not in gateway.log:
            ask(gateway)
            await asyncio.sleep(0)
        url = gateway.find(ADDRESS)
        while not find_events(gateway, "connected"):
            for pid in (gateway.process.pid, *find_children(gateway.process.pid, "app")):
                with suppress(ProcessLookupError):  # a child may have done its work
                    os.kill(pid, signal.SIGUSR1)  # as `systemctl kill` does it
            await asyncio.sleep(0)
        wait_until_ready(url)
        await eventually(lambda: any(event["phase"] != "parent" for event in find_events(gateway)))
        assert find_events(gateway, "worker-ended") == []
        assert gateway.stop() == 0


def is_blocked(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return any(line.startswith("SigBlk:") and int(line.split()[1], 16) & BLOCK for line in lines)


@pytest.mark.parametrize(
    "more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)], ids=["one process", "workers"]
)
async def test_a_gateway_that_drains_answers_too_and_loses_no_request(
    tmp_path: Path, own_nats: NatsServer, more: tuple[str, ...]
) -> None:
    log, environment = serve(own_nats, tmp_path)
    async with holding(own_nats, "snap.slow.*") as free:
        with run([*SERVE, *more], log, **environment, GATEWAY_DRAIN_TIMEOUT="60s") as gateway:
            url = gateway.find(ADDRESS)
            gateway.wait_for_connections(len(more) or 1)
            async with make_client(url) as client:
                asking = asyncio.create_task(client.get("/slow/7"))

                def is_draining(event: dict[str, Any]) -> bool:
                    return bool(event["phase"] == "draining" and event["in_flight"] == 1)

                await eventually_taken(gateway, lambda event: bool(event.get("in_flight")))
                gateway.process.send_signal(signal.SIGTERM)
                await eventually_taken(gateway, is_draining)
                await free()
                assert (await asking).status_code == 200
            assert gateway.process.wait(PATIENCE) == 0


async def eventually_taken(gateway: Process, is_right: Callable[[dict[str, Any]], bool]) -> None:
    """Ask until any process has written such a snapshot."""
    end = time.monotonic() + PATIENCE
    while not any(map(is_right, find_events(gateway))):
        ask(gateway)
        await asyncio.sleep(0.1)
        assert time.monotonic() < end, find_events(gateway)


async def test_a_blocked_event_loop_is_logged_with_the_place(tmp_path: Path, own_nats: NatsServer) -> None:
    (tmp_path / "blocking.py").write_text(EXTENSION)
    log, environment = serve(own_nats, tmp_path)
    command = [*SERVE, "--extend", "blocking:extend"]
    with run(command, log, **environment, PYTHONPATH=str(tmp_path)) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with make_client(url) as client:
            asking = asyncio.create_task(client.get("/sleep"))
            end = time.monotonic() + PATIENCE
            while not find_events(gateway, "loop-blocked"):
                ask(gateway)
                await asyncio.sleep(0.1)
                assert time.monotonic() < end
            asking.cancel()
        assert find_events(gateway, "loop-blocked")[0]["stack"][0].startswith("sleep (")


async def test_a_handshake_that_does_not_end_is_counted(tmp_path: Path, own_nats: NatsServer) -> None:
    log, environment = serve(own_nats, tmp_path)
    files = {f"GATEWAY_{name.upper()}": str(path) for name, path in Authority(tmp_path).write().items()}
    with run(SERVE, log, **environment, **files) as gateway:
        port = int(gateway.find(ADDRESS).rpartition(":")[2])
        await eventually(lambda: find_events(gateway, "connected"))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        found = await take(gateway, lambda event: bool(event["tls_handshakes"]))
        assert (found["tls_handshakes"], found["connections"]) == (1, 0)
        writer.close()


async def test_in_text_each_route_link_and_kind_of_task_has_a_line(tmp_path: Path, own_nats: NatsServer) -> None:
    log, environment = serve(own_nats, tmp_path)
    async with holding(own_nats, "snap.slow.*"):
        with run(SERVE, log, **environment, GATEWAY_LOG_FORMAT="text") as gateway:
            url = gateway.find(r"address=(\S+)")
            wait_until_ready(url)
            async with make_client(url) as client:
                asking = asyncio.create_task(client.get("/slow/7"))
                end = time.monotonic() + PATIENCE
                while "\n    route=slow kind=request count=1 sent=1 oldest_ms=" not in gateway.log:
                    ask(gateway)
                    await asyncio.sleep(0.1)
                    assert time.monotonic() < end, gateway.log
                asking.cancel()
            assert "gateway  snapshot phase=serving pid=" in gateway.log
            assert "\n    link=requests connected=True server=" in gateway.log
            assert "\n    runs=Link._supervise count=1\n" in gateway.log


@pytest.mark.parametrize(("command", "is_blocked"), [("serve", True), ("dev", True), ("check", False)])
def test_it_is_blocked_before_a_gateway_loads_anything_that_takes_long(command: str, is_blocked: bool) -> None:
    script = (
        "import signal, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': print(signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"sys.argv = ['nats-http', '{command}', '--help']\n"
        "from app.__main__ import main\n"
        "main()\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.split()[0] == str(is_blocked), output.stderr
