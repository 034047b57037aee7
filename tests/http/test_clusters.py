"""Routes of several NATS clusters: each kind of route uses its own, and one that is away harms no other."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.micro import add_service
from nats.micro.request import Request

from app.routefile.load import RouteFile, load_route_file
from tests.harness import PATIENCE, Gateway, Handler, NatsServer, connect, eventually, responder, run_gateway, run_nats

ROUTES = """
version: 1
routes:
  - {name: ask, method: GET, path: /main/ask, subject: ask}
  - {name: ask-there, method: GET, path: /factory/ask, subject: ask, nats: factory}
  - {name: all-there, method: GET, path: /factory/all, subject: ask, nats: factory, replies: {max: 1}}
  - {name: tell-there, method: POST, path: /factory/tell, publish: told, nats: factory}
  - {name: store-there, method: POST, path: /factory/store, publish: kept, stream: KEPT, nats: factory}
  - {name: watch-there, method: GET, path: /factory/watch, subscribe: ticks, nats: factory}
  - {name: read-there, method: GET, path: /factory/read, subscribe: kept, stream: KEPT, start: all, nats: factory}
  - {name: watch, method: GET, path: /main/watch, subscribe: ticks}
"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> RouteFile:
    path = tmp_path_factory.mktemp("clusters") / "routes.yaml"
    path.write_text(ROUTES)
    return load_route_file(path, clusters=["factory"])


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[NatsServer]:
    with run_nats(tmp_path / "factory") as server:
        yield server


@pytest.fixture
async def gateway(shared_nats: NatsServer, factory: NatsServer, routes: RouteFile) -> AsyncIterator[Gateway]:
    clusters = {"factory": {"nats_url": (factory.url,)}}
    async with run_gateway(shared_nats.url, routes=routes, clusters=clusters) as gateway:
        await eventually(lambda: gateway.parts.clusters["factory"].link.reason is None)
        yield gateway


async def read_event(gateway: Gateway, path: str, publish: bytes | None, url: str) -> str:
    """The data of the first message of a stream."""
    async with gateway.client.stream("GET", path) as response, connect(url) as client:
        assert response.status_code == 200
        if publish is not None:
            await client.publish("ticks", publish)
            await client.flush()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                return line.removeprefix("data: ")
    raise AssertionError


def answer_with(words: bytes) -> Handler:
    async def answer(msg: Msg) -> None:
        await msg.respond(words)

    return answer


async def test_each_kind_of_route_uses_its_own_cluster(
    gateway: Gateway, shared_nats: NatsServer, factory: NatsServer
) -> None:
    told: list[bytes] = []

    async def take(msg: Msg) -> None:
        told.append(msg.data)

    async with (
        responder(shared_nats.url, "ask", answer_with(b"main")),
        responder(factory.url, "ask", answer_with(b'"factory"')),
        responder(factory.url, "told", take),
        connect(factory.url) as client,
    ):
        await client.jetstream().add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
        assert (await gateway.get("/main/ask")).content == b"main"
        assert (await gateway.get("/factory/ask")).content == b'"factory"'
        assert (await gateway.get("/factory/all")).json() == ["factory"]
        assert (await gateway.client.post("/factory/tell", content=b"hello")).status_code == 202
        stored = await gateway.client.post("/factory/store", content=b"for ever")
        assert (stored.status_code, stored.json()["stream"]) == (201, "KEPT")
        await eventually(lambda: told == [b"hello"])
        assert await read_event(gateway, "/factory/watch", b"tick", factory.url) == "tick"
        assert await read_event(gateway, "/factory/read", None, factory.url) == "for ever"
        assert await read_event(gateway, "/main/watch", b"tack", shared_nats.url) == "tack"


async def wait_for_services(
    gateway: Gateway, path: str, expected: list[tuple[str, str | None, list[str]]], note: str | None = None
) -> None:
    """Until these are the name, the cluster and the routes of each service."""
    end, seen = time.monotonic() + PATIENCE, None
    while seen != (expected, note):
        assert time.monotonic() < end, seen
        found = (await gateway.get(path)).json()
        if path == "/status/data":
            found = {**(found["services"] or {"note": None}), "services": (found["services"] or {}).get("list", [])}
        seen = [(one["name"], one["nats"], one["routes"]) for one in found["services"]], found["note"]
        await asyncio.sleep(0.05)


async def ignore(_: Request) -> None: ...


@pytest.mark.parametrize("path", ["/status/data", "/services"])
async def test_the_services_of_all_clusters_are_seen_with_the_routes_that_lead_to_them(
    path: str, own_nats: NatsServer, factory: NatsServer, routes: RouteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.pages.services_seen.ASK_INTERVAL", 0.2)
    clusters = {"factory": {"nats_url": (factory.url,)}}
    async with (
        connect(own_nats.url) as near,
        connect(factory.url) as far,
        run_gateway(own_nats.url, routes=routes, clusters=clusters, services=True) as gateway,
    ):
        for client, name in ((near, "asker"), (far, "asker"), (far, "robot")):
            service = await add_service(client, name=name, version="1.0.0")
            await service.add_endpoint(name="ask", subject="ask" if name == "asker" else "move", handler=ignore)
            await client.flush()
        expected = [
            ("asker", None, ["ask"]),
            ("asker", "factory", ["all-there", "ask-there"]),
            ("robot", "factory", []),
        ]
        await wait_for_services(gateway, path, expected)
        factory.kill()
        away = "factory: The gateway has no connection to NATS."
        await wait_for_services(gateway, path, expected[:1], away)
        await asyncio.to_thread(factory.start)
        await wait_for_services(gateway, path, expected)


async def test_a_cluster_that_is_away_harms_only_its_routes(
    gateway: Gateway, shared_nats: NatsServer, factory: NatsServer
) -> None:
    async with responder(shared_nats.url, "ask", answer_with(b"main")):
        factory.kill()
        await eventually(lambda: gateway.parts.clusters["factory"].link.reason is not None)
        for method, path in (
            ("GET", "/factory/ask"),
            ("GET", "/factory/all"),
            ("POST", "/factory/tell"),
            ("POST", "/factory/store"),
            ("GET", "/factory/watch"),
            ("GET", "/factory/read"),
        ):
            response = await gateway.client.request(method, path, headers={"x-request-timeout": "300ms"})
            assert (response.status_code, response.json()["type"]) == (503, "/problems/not-connected"), path
        assert (await gateway.get("/main/ask")).content == b"main"
        assert await read_event(gateway, "/main/watch", b"tack", shared_nats.url) == "tack"


async def test_only_streams_of_the_cluster_that_is_lost_get_a_gap(
    gateway: Gateway, shared_nats: NatsServer, factory: NatsServer
) -> None:
    async with (
        gateway.client.stream("GET", "/factory/watch") as there,
        gateway.client.stream("GET", "/main/watch") as here,
        connect(shared_nats.url) as client,
    ):
        factory.kill()
        async for line in there.aiter_lines():
            if line.startswith("event: "):
                assert line == "event: gap"
                break
        await client.publish("ticks", b"tack")
        lines = here.aiter_lines()
        assert [line async for line in until_data(lines)] == ["data: tack"]
    text = (await gateway.get("/metrics")).text
    assert 'nats_http_stream_gaps_total{cause="disconnect"} 1.0' in text


async def until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The lines of a stream with a meaning, up to its first message."""
    async for line in lines:
        if line.startswith(("event: ", "data: ")):
            yield line
        if line.startswith("data: "):
            return


async def test_a_gateway_starts_and_serves_while_a_cluster_is_not_there(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    clusters = {"factory": {"nats_url": ("nats://127.0.0.1:1",)}}
    async with (
        run_gateway(shared_nats.url, routes=routes, clusters=clusters) as gateway,
        responder(shared_nats.url, "ask", answer_with(b"main")),
    ):
        assert (await gateway.get("/main/ask")).content == b"main"
        assert (await gateway.get("/factory/ask")).status_code == 503


def find_values(text: str, name: str) -> dict[str, float]:
    """The values of a metric by its label `nats`."""
    found = re.findall(rf'^nats_http_{name}(?:\{{nats="([a-z]+)"\}})? (\S+)$', text, re.MULTILINE)
    return {label: float(value) for label, value in found}


async def wait_for_values(gateway: Gateway, name: str, values: dict[str, float]) -> str:
    """The metrics, as soon as this one has these values. They may be some seconds old."""
    end = time.monotonic() + PATIENCE
    while find_values(text := (await gateway.get("/metrics")).text, name) != values:
        assert time.monotonic() < end, text
        await asyncio.sleep(0.05)
    return text


METRICS = (
    "nats_connected",
    "nats_reconnects_total",
    "nats_round_trip_seconds",
    "nats_backlog_bytes",
    "requests_in_flight",
    "requests_in_flight_limit",
)


async def test_metrics_have_the_name_of_the_cluster_if_there_are_several(gateway: Gateway, factory: NatsServer) -> None:
    link = gateway.parts.clusters["factory"].link
    await eventually(lambda: link.round_trip is not None and gateway.link.round_trip is not None)
    text = (await gateway.get("/metrics")).text
    assert {name: set(find_values(text, name)) for name in METRICS} == {key: {"main", "factory"} for key in METRICS}
    factory.kill()
    text = await wait_for_values(gateway, "nats_connected", {"main": 1, "factory": 0})
    assert find_values(text, "requests_in_flight_limit") == {"main": 4096, "factory": 4096}
    await asyncio.to_thread(factory.start)
    await wait_for_values(gateway, "nats_reconnects_total", {"main": 0, "factory": 1})


async def test_metrics_of_one_cluster_have_no_label(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:
        await eventually(lambda: gateway.link.round_trip is not None)
        text = (await gateway.get("/metrics")).text
    assert {name: set(find_values(text, name)) for name in METRICS} == {key: {""} for key in METRICS}


async def test_a_gateway_is_ready_while_it_is_connected_to_any_cluster(
    own_nats: NatsServer, factory: NatsServer, routes: RouteFile
) -> None:
    clusters = {"factory": {"nats_url": (factory.url,)}}
    async with (
        run_gateway(own_nats.url, routes=routes, clusters=clusters, health_details=True) as detailed,
        run_gateway(own_nats.url, routes=routes, clusters=clusters) as gateway,
    ):
        links = [one.parts.clusters["factory"].link for one in (detailed, gateway)]
        await eventually(lambda: all(link.reason is None for link in links))
        own_nats.kill()
        await eventually(lambda: detailed.link.reason is not None and gateway.link.reason is not None)
        seen = await detailed.get("/readyz")
        server = factory.url.removeprefix("nats://")
        assert (seen.status_code, seen.json()["status"]) == (200, "ready")
        assert seen.json()["nats"]["factory"] == {"connected": True, "server": server, "reason": None}
        assert seen.json()["nats"]["main"]["connected"] is False
        assert seen.json()["nats"]["main"]["reason"].startswith("127.0.0.1:")
        assert (await gateway.get("/readyz")).json() == {"status": "ready"}
        factory.kill()
        await eventually(lambda: all(link.reason is not None for link in links))
        refused = await detailed.get("/readyz")
        assert refused.status_code == 503
        assert re.fullmatch(r"main: 127\.0\.0\.1:.*; factory: 127\.0\.0\.1:.*", refused.json()["reason"])
        refused = await gateway.get("/healthz")
        assert refused.status_code == 503
        assert refused.json() == {"status": "not ready", "reason": "not connected to NATS"}


async def test_the_status_page_has_the_state_of_each_cluster(gateway: Gateway, factory: NatsServer) -> None:
    async def read() -> dict[str, Any]:
        state: dict[str, Any] = (await gateway.get("/status/data")).json()
        return state

    def is_up(state: dict[str, Any]) -> bool:
        return [one["state"] for one in (state["nats"], *state["other_nats"])] == ["up", "up"]

    while not is_up(state := await read()):
        pass
    assert (state["nats"]["name"], [one["name"] for one in state["other_nats"]]) == ("main", ["factory"])
    assert {row["name"]: row["nats"] for row in state["routes"]}["ask"] is None
    assert {row["name"]: row["nats"] for row in state["routes"]}["ask-there"] == "factory"
    assert state["in_flight_limit"] == 2 * 4096
    factory.kill()
    while (state := await read())["other_nats"][0]["state"] != "down":
        pass
    assert (state["nats"]["state"], state["ready"], state["other_nats"][0]["servers"]) == ("up", True, [])
    await asyncio.to_thread(factory.start)
    while (state := await read())["other_nats"][0]["state"] != "up":
        pass
    assert state["other_nats"][0]["reconnects"] == 1
    assert "down" in {step["state"] for step in state["other_nats"][0]["timeline"]}
    assert "down" not in {step["state"] for step in state["nats"]["timeline"]}


async def test_each_cluster_has_the_limit_on_requests_in_flight_for_itself(
    shared_nats: NatsServer, factory: NatsServer, routes: RouteFile
) -> None:
    waiting: list[Msg] = []

    async def keep(msg: Msg) -> None:
        waiting.append(msg)

    clusters = {"factory": {"nats_url": (factory.url,)}}
    async with (
        run_gateway(shared_nats.url, routes=routes, clusters=clusters, max_in_flight=1) as gateway,
        responder(shared_nats.url, "ask", answer_with(b"main")),
        responder(factory.url, "ask", keep),
    ):
        link = gateway.parts.clusters["factory"].link
        await eventually(lambda: link.reason is None)
        task = asyncio.create_task(gateway.get("/factory/ask", x_request_timeout="20s"))
        await eventually(lambda: waiting)
        refused = await gateway.get("/factory/ask")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
        assert (await gateway.get("/main/ask")).content == b"main"
        await waiting[0].respond(b"late")
        assert (await task).content == b"late"
