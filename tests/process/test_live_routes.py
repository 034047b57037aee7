"""Commands about routes show those of services too, if they are asked to, and say so if they don't."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tests.harness import NatsServer, clean_environment
from tests.process.programs import PROGRAM
from tests.process.test_discovery import serving, write_routes

MISSING = "routes of the service orders are not included, since only NATS knows them: add --live"


async def call(nats: NatsServer, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        env={**clean_environment(), "NATS_URL": nats.url, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), error.decode())


COMMANDS = {
    "routes": ("orders-get", "GET", "/orders/{id}"),
    "explain GET /orders/7": ("subject  orders.7.get",),
    "openapi": ('"/orders/{id}"',),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_live_routes_are_shown_or_said_to_be_missing(command: str, own_nats: NatsServer, tmp_path: Path) -> None:
    routes = str(write_routes(tmp_path / "routes.yaml", "orders"))
    words = command.split()
    async with serving(own_nats.url):
        without = await call(own_nats, *words, GATEWAY_ROUTES=routes)
        live = await call(own_nats, *words, "--live", GATEWAY_ROUTES=routes)
        alone = await call(own_nats, *words, "--live", GATEWAY_DISCOVER="orders")
    assert f"warning: {routes}: {MISSING}" in without.stderr
    assert without.returncode == (1 if words[0] == "explain" else 0)
    for done in (live, alone):
        assert (done.returncode, done.stderr) == (0, "")
        assert all(text in done.stdout for text in COMMANDS[command])
    assert not any(text in without.stdout for text in COMMANDS[command][:1])


async def test_live_routes_that_are_wrong_or_silent_are_said(own_nats: NatsServer, tmp_path: Path) -> None:
    routes = str(write_routes(tmp_path / "routes.yaml", "[orders, pets]"))
    async with serving(own_nats.url, path="/orders/{id}/{more}"):
        done = await call(own_nats, "routes", "--live", routes)
    assert done.returncode == 0
    assert [line.partition(" ")[2][:44] for line in done.stderr.splitlines()] == [
        "warning: no service named pets answers on $S",
        "warning: orders.get: its path /orders/{id}/{",
    ]
    own_nats.kill()
    done = await call(own_nats, "routes", "--live", routes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no connection to NATS" in done.stderr
    own_nats.start()


async def test_a_call_finds_the_route_of_a_service(own_nats: NatsServer, tmp_path: Path) -> None:
    routes = str(write_routes(tmp_path / "routes.yaml", "orders"))
    async with serving(own_nats.url):
        done = await call(own_nats, "call", "GET", "/orders/7?x=1", "--json", GATEWAY_ROUTES=routes)
        alone = await call(own_nats, "call", "GET", "/orders/7", "--json", GATEWAY_DISCOVER="orders")
        nowhere = await call(own_nats, "call", "GET", "/pets/7", "--json", GATEWAY_ROUTES=routes)
    for shown in (done, alone):
        assert (shown.returncode, shown.stderr) == (0, "")
        assert json.loads(shown.stdout)["route"] == "orders-get"
        assert json.loads(shown.stdout)["body"] == {"subject": "orders.7.get"}
    assert (nowhere.returncode, json.loads(nowhere.stdout)["status"]) == (1, 404)
