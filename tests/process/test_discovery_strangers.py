"""A stranger who says for 1,000 instances that he is a service: what he reaches, and what stops him, as
docs/discovery.md says it."""

import asyncio
import re
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from tests.harness import PATIENCE, NatsServer, eventually, replying, responder, run_nats
from tests.process.programs import run, wait_until_ready
from tests.process.test_discovery import say, serve, serving, write_routes
from tests.process.test_discovery_pages import DISCOVERY, find_blocks
from tests.process.test_reload import ADDRESS, get_statuses, read_events, wait_for_status

MANY = 1000
ENDPOINTS = [
    {"name": "pay", "subject": "payments.pay", "metadata": {"http.path": "/pay", "http.method": "GET"}},
    {"name": "get", "subject": "orders.*.no", "metadata": {"http.path": "/false/{id}", "http.method": "GET"}},
]


async def lie(message: Msg) -> None:
    """Says the same as many instances of `orders`."""
    last = message.subject.split(".")[-1]
    if ".INFO." in message.subject:
        if last.startswith("L"):
            await message.respond(say("info", id=last, endpoints=ENDPOINTS))
        return
    for number in range(MANY):
        await message.respond(say("ping", id=f"L{number}"))
        if number % 50 == 0:
            await asyncio.sleep(0)


@pytest.mark.soak
@pytest.mark.parametrize("bound", [False, True])
async def test_without_permissions_the_majority_wins(bound: bool, own_nats: NatsServer, tmp_path: Path) -> None:
    discover = "{services: [orders], subjects: 'orders.>'}" if bound else "orders"
    routes = write_routes(tmp_path / "routes.yaml", discover)
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_ROUTES=str(routes))
    url = own_nats.url
    async with serving(url), serving(url), responder(url, "payments.pay", replying(b"paid")):
        with run(command, log, **environment) as gateway:
            address = gateway.find(ADDRESS)
            await wait_for_status(address, "/orders/7", 200)
            async with responder(url, "$SRV.>", lie):
                await wait_for_status(address, "/false/7", 503)
                assert await get_statuses(address, "/orders/7", "/pay") == [404, 404 if bound else 200]
                reasons = [str(event["reason"]) for event in read_events(gateway, "service-refused")]
                assert any("2 instances of version 1.0.0" in reason for reason in reasons)
                assert any("not among `discover.subjects`" in reason for reason in reasons) == bound
            assert gateway.stop() == 0


async def test_permissions_of_nats_stop_him(tmp_path: Path) -> None:
    (config,) = find_blocks(DISCOVERY, "text")
    with run_nats(tmp_path / "nats", config) as server:
        users = re.findall(r"user: (\w+), password: (\w+)", config)
        urls = {user: server.url.replace("//", f"//{user}:{password}@") for user, password in users}
        routes = write_routes(tmp_path / "routes.yaml", "orders")
        command, log, environment = serve(server, tmp_path, GATEWAY_ROUTES=str(routes))
        environment["NATS_URL"] = urls["gateway"]
        asked = asyncio.Event()

        async def note(message: Msg) -> None:
            asked.set()
            await lie(message)

        async with serving(urls["orders"]), serving(urls["pets"], "pets"):
            with run(command, log, **environment) as gateway:
                address = gateway.find(ADDRESS)
                wait_until_ready(address)
                await wait_for_status(address, "/orders/7", 200)
                async with responder(urls["pets"], "$SRV.PING", note), responder(urls["pets"], "$SRV.INFO", note):
                    for subject in ("$SRV.PING.orders", "$SRV.INFO.orders", "$SRV.INFO.orders.>", "$SRV.>"):
                        denied: list[object] = []
                        await try_to_subscribe(urls["pets"], subject, denied)
                        assert denied
                    async with serving(urls["orders"], version="2.0.0", path="/new/{id}"):
                        await wait_for_status(address, "/new/7", 200)  # so all have been asked again
                        assert await get_statuses(address, "/false/7", "/pay") == [404, 404]
                    assert not asked.is_set()
                assert gateway.stop() == 0


async def try_to_subscribe(url: str, subject: str, denied: list[object]) -> None:
    """Note the error of the server."""

    async def note(error: Exception) -> None:
        denied.append(error)

    client = await nats.connect(url, error_cb=note)
    try:
        await client.subscribe(subject, cb=lie)
        await client.flush()
        await eventually(lambda: denied, timeout=PATIENCE)
    finally:
        await client.close()
