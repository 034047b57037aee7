"""Routes of several NATS clusters: each kind of route uses its own, and one that is away harms no other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from app.routefile.load import RouteFile, load_route_file
from tests.harness import Gateway, Handler, NatsServer, connect, eventually, responder, run_gateway, run_nats

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
