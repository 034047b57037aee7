"""A gateway with two NATS clusters, and the commands that know them, as they are typed."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import PATIENCE, NatsServer, replying, responder, run_nats
from tests.process.programs import PROGRAM, call, finish, run, wait_until_ready
from tests.process.test_discovery import serving
from tests.process.test_reload import wait_for_status
from tests.process.test_snapshots import ADDRESS, take

ROUTES = """\
version: 1
defaults: {reply: {content_type: text/plain}}
routes:
  - {name: here, method: GET, path: /here, subject: two.ask}
  - {name: there, method: GET, path: /there, subject: two.ask, nats: factory}
"""


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[NatsServer]:
    with run_nats(tmp_path / "factory") as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES)
    return path


@pytest.fixture
def settings(shared_nats: NatsServer, factory: NatsServer, path: Path) -> dict[str, str]:
    names = {"GATEWAY_NATS": "factory", "NATS_FACTORY_URL": factory.url}
    return {"NATS_URL": shared_nats.url, "GATEWAY_ROUTES": str(path), **names}


async def type_in(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(finish, [*PROGRAM, *words], **environment)


def test_routes_and_explain_say_which_cluster_a_route_uses(settings: dict[str, str]) -> None:
    head, here, there = call("routes", **settings).stdout.splitlines()
    at = head.index("NATS")
    assert (here[at:].split()[0], there[at:].split()[0]) == ("main", "factory")
    assert "\nnats     factory\nsubject  two.ask\n" in call("explain", "GET", "/there", **settings).stdout
    assert "\nnats " not in call("explain", "GET", "/here", **settings).stdout


def test_check_tells_a_name_that_the_settings_do_not_have(settings: dict[str, str]) -> None:
    assert call("check", **settings).returncode == 0
    done = call("check", **settings | {"GATEWAY_NATS": "factory2", "NATS_FACTORY2_URL": "nats://a"})
    assert done.returncode == 1
    assert done.stderr.endswith("GATEWAY_NATS does not have this name, did you mean `factory2`?\n")


async def test_call_asks_the_cluster_of_the_route_or_of_its_option(
    settings: dict[str, str], shared_nats: NatsServer, factory: NatsServer
) -> None:
    async with (
        responder(shared_nats.url, "two.ask", replying(b"main")),
        responder(factory.url, "two.ask", replying(b"factory")),
    ):
        for words, body in (
            (("GET", "/here"), "main"),
            (("GET", "/there"), "factory"),
            (("two", "ask"), "main"),
            (("two", "ask", "--nats", "factory"), "factory"),
        ):
            done = await type_in("call", "--json", *words, **settings)
            assert (done.returncode, json.loads(done.stdout)["body"]) == (0, body), words
    unknown = await type_in("call", "two.ask", "--nats", "edge", **settings)
    assert unknown.stderr == "nats-http: --nats edge: known are main, factory; GATEWAY_NATS has the names\n"
    assert (await type_in("call", "GET", "/here", "--nats", "factory", **settings)).returncode == 2


async def test_workers_serve_both_clusters_and_a_reload_moves_a_route(
    settings: dict[str, str], shared_nats: NatsServer, factory: NatsServer, path: Path, tmp_path: Path
) -> None:
    async with (
        responder(shared_nats.url, "two.ask", replying(b"main")),
        responder(factory.url, "two.ask", replying(b"factory")),
    ):
        with run([*PROGRAM, "serve", "--port", "0", "--workers", "2"], tmp_path / "log", **settings) as gateway:
            url = await asyncio.to_thread(gateway.find, ADDRESS)
            await asyncio.to_thread(gateway.wait_for_connections, 4)
            assert await ask(url, "/here") == "main"
            assert await ask(url, "/there") == "factory"
            path.write_text(ROUTES.replace("subject: two.ask}", "subject: two.ask, nats: factory}"))
            gateway.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(gateway.find, '("event":"routes-loaded")')
            end = asyncio.get_running_loop().time() + PATIENCE
            while {await ask(url, "/here") for _ in range(10)} != {"factory"}:
                assert asyncio.get_running_loop().time() < end


async def ask(url: str, target: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return (await client.get(f"{url}{target}")).text


async def test_services_of_another_cluster_have_routes(
    settings: dict[str, str], factory: NatsServer, path: Path, tmp_path: Path
) -> None:
    path.write_text("version: 1\ndiscover: {services: orders, nats: factory}\n")
    with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", **settings) as gateway:
        url = await asyncio.to_thread(gateway.find, ADDRESS)
        async with serving(factory.url):
            await wait_for_status(url, "/orders/7", 200)
            assert json.loads(await ask(url, "/orders/7")) == {"subject": "orders.7.get"}
            found = await type_in("discover", "--nats", "factory", "--write", str(tmp_path / "new.yaml"), **settings)
            assert "/orders/{id}" in found.stdout
            assert "    nats: factory\n" in (tmp_path / "new.yaml").read_text()
            none = await type_in("discover", "--service", "orders", **settings)
            assert none.stderr.startswith("nats-http: no service named orders answers on $SRV.INFO")


async def test_top_and_a_snapshot_name_each_cluster(
    settings: dict[str, str], factory: NatsServer, tmp_path: Path
) -> None:
    with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", **settings) as gateway:
        url = await asyncio.to_thread(gateway.find, ADDRESS)
        await asyncio.to_thread(wait_until_ready, url)
        factory.kill()

        def has_lost(snapshot: dict[str, Any]) -> bool:
            return [row["connected"] for row in snapshot["nats"]] == [True, False]

        assert await asyncio.to_thread(gateway.find, '"nats":"(.*?)","event":"disconnected"') == "factory"
        assert await asyncio.to_thread(gateway.find, '"nats":"(.*?)","event":"connect-failed"') == "factory"
        snapshot = await take(gateway, has_lost)
        assert [(row["nats"], row["link"]) for row in snapshot["nats"]] == [
            ("main", "requests"),
            ("factory", "requests"),
        ]

        async def shows_it() -> bool:
            done = await type_in("top", url, "--once", "--json", **settings)
            found: dict[str, bool] = json.loads(done.stdout)["clusters"]
            return found == {"main": True, "factory": False}

        end = asyncio.get_running_loop().time() + PATIENCE
        while not await shows_it():
            assert asyncio.get_running_loop().time() < end
