"""`/status` of a real gateway: the data that its page shows."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from nats.micro import add_service
from nats.micro.request import Request

from app.pages.status import MOST_WATCHERS
from app.routing.routes import Route
from tests.harness import Gateway, NatsServer, connect, run_gateway

ROUTES = [
    Route(name="read", methods=("GET",), path="/read/{id}", subject="sta.read.{id}"),
    Route(name="nobody", methods=("GET",), path="/nobody", subject="sta.nobody"),
    Route(name="idle", methods=("GET",), path="/idle", subject="sta.idle"),
]

State = dict[str, Any]


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async def answer(request: Request) -> None:
        await request.respond(b"yes")

    async with connect(shared_nats.url) as client:
        service = await add_service(client, name="reader", version="1.2.3")
        await service.add_endpoint(name="read", subject="sta.read.*", handler=answer)
        await client.flush()
        async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
            yield gateway
        await service.stop()


async def read(gateway: Gateway) -> State:
    state: State = (await gateway.get("/status/data")).json()
    return state


async def watch(gateway: Gateway) -> AsyncGenerator[tuple[str, State], None]:
    async with gateway.client.stream("GET", "/status/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        kind = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


async def test_the_state_has_routes_failures_services_and_nats(gateway: Gateway) -> None:
    for path in ("/read/1", "/read/2", "/nobody", "/read/a.b?token=secret"):
        await gateway.get(path)
    state = await read(gateway)
    while state["services"] is None:
        state = await read(gateway)
    assert (state["whole"], state["ready"], state["workers"], state["routes_total"]) == (True, True, 1, 3)
    rows = {row["name"]: row for row in state["routes"]}
    assert {name: (row["answered"], row["slug"]) for name, row in rows.items()} == {
        "read": (True, None),
        "nobody": (False, "no-responders"),
        "idle": (None, None),
    }
    assert rows["read"]["refused"] == pytest.approx(1 / 3, abs=0.01)
    assert rows["nobody"]["failing"] == 1
    assert rows["read"]["p50"] > 0
    assert rows["read"]["services"] == ["reader"]
    [service] = [found for found in state["services"]["list"] if found["name"] == "reader"]
    assert (service["version"], service["instances"], service["requests"], service["routes"]) == (
        "1.2.3",
        1,
        2,
        ["read"],
    )
    [failure] = state["failures"]
    assert (failure["route"], failure["slug"], failure["delivered"]) == ("nobody", "no-responders", "no")
    assert state["nats"]["state"] == "up"
    assert state["nats"]["servers"][0]["version"]
    assert state["nats"]["servers"][0]["address"] is None, "only with GATEWAY_HEALTH_DETAILS"
    assert len(state["nats"]["timeline"]) == len(state["routes"][0]["spark"]) or not state["routes"][0]["spark"]
    assert "secret" not in json.dumps(state)


async def test_events_begin_with_all_of_it_and_go_on_with_what_changes(gateway: Gateway) -> None:
    async with aclosing(watch(gateway)) as events:
        kind, first = await anext(events)
        assert (kind, first["whole"], len(first["routes"])) == ("state", True, 3)
        await gateway.get("/read/1")
        async for kind, state in events:
            assert (kind, state["whole"]) == ("state", False)
            names = {row["name"] for row in state["routes"]}
            assert "idle" not in names
            if "read" in names:
                break


async def test_a_lost_nats_is_in_the_next_states_and_its_return_too(own_nats: NatsServer) -> None:
    async with (
        run_gateway(own_nats.url, routes=ROUTES, health_details=True) as gateway,
        aclosing(watch(gateway)) as events,
    ):
        assert (await anext(events))[1]["nats"]["servers"][0]["address"] == gateway.link.server
        own_nats.kill()
        async for _, state in events:
            if state["nats"]["state"] == "down":
                break
        assert (state["ready"], state["nats"]["servers"]) == (False, [])
        assert state["nats"]["since"] <= state["time"]
        own_nats.start()
        async for _, state in events:
            if state["nats"]["state"] == "up":
                break
        assert (state["ready"], state["nats"]["reconnects"]) == (True, 1)
        assert "down" in {step["state"] for step in state["nats"]["timeline"]}


async def test_who_watches_hears_that_the_gateway_stops_and_does_not_hold_it_up(gateway: Gateway) -> None:
    async with aclosing(watch(gateway)) as events:
        await anext(events)
        gateway.parts.drain.set()
        kinds = [kind async for kind, _ in events]
    assert kinds[-1] == "bye"


async def test_too_many_who_watch_get_a_503_and_can_still_ask(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.pages.status.MOST_WATCHERS", 2)
    assert MOST_WATCHERS > 2
    async with aclosing(watch(gateway)) as one, aclosing(watch(gateway)) as two:
        await anext(one)
        await anext(two)
        refused = await gateway.get("/status/events")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
        assert (await read(gateway))["whole"]
    while (await gateway.client.head("/status/events")).status_code == 503:
        await asyncio.sleep(0.05)
    async with aclosing(watch(gateway)) as again:
        assert await anext(again)


async def test_a_head_request_does_not_hang(gateway: Gateway) -> None:
    response = await asyncio.wait_for(gateway.client.head("/status/events"), 10)
    assert response.status_code == 200


async def test_the_first_page_is_the_status_page_and_off_takes_it_away(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    assert (await gateway.get("/")).headers["location"] == "/status"
    page = await gateway.get("/status", accept="text/html")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert '<a href="/docs">' in page.text
    async with run_gateway(shared_nats.url, routes=ROUTES, status=False) as other:
        assert (await other.get("/")).headers["location"] == "/docs"
        assert (await other.get("/status")).status_code == 404
        assert (await other.get("/metrics")).status_code == 200
        for path in ("/docs", "/problems", "/nowhere"):
            assert "/status" not in (await other.get(path, accept="text/html")).text


async def test_a_thousand_routes_are_told_whole_and_then_by_what_changes(shared_nats: NatsServer) -> None:
    many = [
        Route(name=f"r-{number}", methods=("GET",), path=f"/r/{number}", subject=f"sta.r.{number}")
        for number in range(1000)
    ]
    async with run_gateway(shared_nats.url, routes=many) as gateway, aclosing(watch(gateway)) as events:
        _, first = await anext(events)
        assert len(first["routes"]) == 1000
        await gateway.get("/r/7")
        async for _, state in events:
            if state["routes"]:
                break
        assert [row["name"] for row in state["routes"]] == ["r-7"]


async def test_who_comes_later_gets_no_old_state(gateway: Gateway) -> None:
    async with aclosing(watch(gateway)) as events:
        await anext(events)
    gateway.parts.monitor._status._asked_at = -100.0  # type: ignore[union-attr] # nobody has watched for long
    while gateway.parts.monitor._status.watchers:  # type: ignore[union-attr]
        await asyncio.sleep(0.05)
    begun = time.time()
    async with aclosing(watch(gateway)) as events:
        _, state = await anext(events)
    assert (state["whole"], state["time"] >= begun - 0.01) == (True, True)
