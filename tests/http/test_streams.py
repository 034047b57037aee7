"""Routes with `subscribe`: streams of messages that never hide a gap. Over a real server and real sockets."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from nats.aio.client import Client

from app.http.events import HEARTBEAT
from app.observe.record import Observers, Record
from app.routefile.load import load_route_file
from app.routing.kinds import Subscribe
from app.routing.routes import Route
from tests.harness import PATIENCE, Gateway, NatsServer, connect, eventually, run_gateway, run_nats
from tests.issuer import SECRET, make_claims


def make_route(name: str, kind: Subscribe, **more: Any) -> Route:
    return Route(
        name=name, methods=("GET",), path=f"/{name}/{{id}}", subject=f"{name}.{{id}}.events", kind=kind, **more
    )


ROUTES = (
    make_route("orders", Subscribe()),
    make_route("typed", Subscribe(event_header="Event-Type")),
    make_route("bytes", Subscribe(encoding="base64")),
    make_route("short", Subscribe(max_duration=0.3)),
    make_route("few", Subscribe(max_streams=2)),
    Route(name="any", methods=("GET",), path="/any/{id}", subject="any.{id}.>", kind=Subscribe("Nats-Subject")),
    Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}"),
)


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        yield gateway
        await eventually(lambda: count_open(gateway) == 0)


@pytest.fixture
async def nats(shared_nats: NatsServer) -> AsyncIterator[Client]:
    async with connect(shared_nats.url) as client:
        yield client


def count_open(gateway: Gateway) -> int:
    """Streams and subscriptions that are open."""
    parts = gateway.parts
    assert parts.streams.open >= parts.feeds.subscriptions
    return parts.streams.open


class Reader:
    """One caller: its events, as a browser reads them, or its lines."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event; comments and `retry` are left out."""
        found: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line:
                    if found and "retry" not in found:
                        return found
                    found = {}
                elif name:
                    found[name] = f"{found[name]}\n{value}" if name in found else value
        raise EOFError

    async def line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await anext(self._lines)


@contextlib.asynccontextmanager
async def read(gateway: Gateway, path: str, **headers: str) -> AsyncIterator[Reader]:
    async with gateway.client.stream("GET", path, headers=headers) as response:
        yield Reader(response)


async def test_messages_are_events(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/orders/7") as reader:
        assert reader.response.status_code == 200
        assert reader.response.headers["content-type"] == "text/event-stream"
        assert reader.response.headers["cache-control"] == "no-store"
        assert reader.response.headers["x-accel-buffering"] == "no"
        for payload in (b'{"a":1}', b"two\nlines\r\nand\rthree", b"", "é\0".encode(), b"data: x"):
            await nats.publish("orders.7.events", payload)
        found = [(await reader.next())["data"] for _ in range(5)]
    assert found == ['{"a":1}', "two\nlines\nand\nthree", "", "é\0", "data: x"]


async def test_it_begins_with_the_time_to_come_again(gateway: Gateway) -> None:
    async with read(gateway, "/orders/7") as reader:
        name, _, value = (await reader.line()).partition(": ")
    assert name == "retry"
    assert 1500 <= int(value) <= 2500


async def test_only_messages_of_its_subject_come(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/orders/7") as reader, read(gateway, "/orders/8") as other:
        await nats.publish("orders.7.events", b"seven")
        await nats.publish("orders.8.events", b"eight")
        assert (await reader.next(), await other.next()) == ({"data": "seven"}, {"data": "eight"})


async def test_a_header_is_the_type_of_an_event_and_can_forge_nothing(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/typed/7") as reader:
        for value in ("created", "gap", "end", "", "a" * 200, "with space"):
            await nats.publish("typed.7.events", b"x", headers={"Event-Type": value})
        await nats.publish("typed.7.events", b"x")
        found = [(await reader.next()).get("event") for _ in range(7)]
    assert found == ["created", None, None, None, None, "with space", None]


async def test_a_subject_with_a_wildcard_is_known_by_a_header(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/any/7") as reader:
        await nats.publish("any.7", b"no")
        await nats.publish("any.7.a.b", b"0")
        await nats.publish("any.7.c", b"1", headers={"Nats-Subject": "any.7.lie", "Other": "x"})
        await nats.flush()
        assert await reader.next() == {"event": "any.7.a.b", "data": "0"}
        assert await reader.next() == {"event": "any.7.c", "data": "1"}
    assert (await gateway.get("/any/*")).status_code == 422


async def test_a_stream_that_is_never_quiet_ends_after_its_time(gateway: Gateway, nats: Client) -> None:
    async def write() -> None:
        while True:
            await nats.publish("short.7.events", b"x" * 10_000)
            await nats.flush()

    async with asyncio.timeout(PATIENCE), read(gateway, "/short/7") as reader:
        writer = asyncio.create_task(write())
        try:
            with contextlib.suppress(EOFError):
                while True:
                    await reader.next()
        finally:
            writer.cancel()


async def test_what_is_not_text_is_a_gap_unless_the_route_writes_base64(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/orders/7") as reader, read(gateway, "/bytes/7") as other:
        await nats.publish("orders.7.events", b"\xff\n")
        await nats.publish("bytes.7.events", b"\xff\n")
        assert await reader.next() == {"event": "gap", "data": '{"cause":"encoding"}'}
        assert base64.b64decode((await other.next())["data"]) == b"\xff\n"


async def test_a_caller_can_have_lines_of_json(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/typed/7", accept="application/x-ndjson") as reader:
        assert reader.response.headers["content-type"] == "application/x-ndjson"
        await nats.publish("typed.7.events", b'{"a":\n1.10}', headers={"Event-Type": "made"})
        await nats.publish("typed.7.events", b"text")
        await nats.publish("typed.7.events", b"\xff")
        lines = [await reader.line() for _ in range(3)]
    assert lines[0] == '{"event":"made","data":{"a": 1.10}}'
    assert [json.loads(line) for line in lines[1:]] == [{"data": "text"}, {"gap": {"cause": "encoding"}}]


async def test_all_callers_of_a_subject_share_one_subscription(gateway: Gateway, nats: Client) -> None:
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(read(gateway, "/orders/7")) for _ in range(100)]
        assert (gateway.parts.streams.open, gateway.parts.feeds.subscriptions) == (100, 1)
        await nats.publish("orders.7.events", b"x")
        assert await asyncio.gather(*(reader.next() for reader in readers)) == [{"data": "x"}] * 100
    await eventually(lambda: gateway.parts.feeds.subscriptions == 0)


async def test_a_lost_connection_is_a_gap_and_then_it_goes_on(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway, read(gateway, "/orders/7") as reader:
        own_nats.kill()
        gap = await reader.next()
        assert gap["event"] == "gap"
        told = json.loads(gap["data"])
        assert (told["cause"], told["since"][-1]) == ("disconnect", "Z")
        refused = await gateway.get("/orders/8")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/not-connected")
        await asyncio.to_thread(own_nats.start)
        async with connect(own_nats.url) as client:
            receiving = asyncio.create_task(reader.next())
            while not receiving.done():
                await client.publish("orders.7.events", b"back")
                await asyncio.sleep(0.05)
            assert receiving.result() == {"data": "back"}


async def test_a_caller_who_reads_too_slowly_gets_a_gap_and_the_end(gateway: Gateway, nats: Client) -> None:
    async with read(gateway, "/orders/7") as slow, read(gateway, "/orders/7") as quick:
        received = 0

        async def read_quickly() -> None:
            nonlocal received
            while received < 3000:
                await quick.next()
                received += 1

        reading = asyncio.create_task(read_quickly())
        for number in range(3000):
            await nats.publish("orders.7.events", b"%d %b" % (number, b"x" * 10_000))
            while number - received > 100:
                await asyncio.sleep(0.01)
        await reading
        numbers = []
        with contextlib.suppress(EOFError):
            while True:
                event = await slow.next()
                is_gap = event == {"event": "gap", "data": '{"cause":"slow"}'}
                numbers.append(-1 if is_gap else int(event["data"].split()[0]))
    assert numbers[-1] == -1
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert len(numbers) < 3000


async def test_a_stream_ends_after_its_time(gateway: Gateway) -> None:
    async with read(gateway, "/short/7") as reader:
        with pytest.raises(EOFError):
            await reader.next()


async def test_a_quiet_stream_has_signs_of_life(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.events.HEARTBEAT", 0.1)
    async with read(gateway, "/orders/7") as reader, read(gateway, "/orders/7", accept="application/x-ndjson") as other:
        lines = [await reader.line() for _ in range(6)]
        assert lines[2:] == [":", "", ":", ""]
        assert [await other.line() for _ in range(3)] == ["", "", ""]


async def test_there_are_at_most_so_many_streams(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES, max_streams=3) as gateway:
        async with read(gateway, "/few/1"), read(gateway, "/few/2"):
            refused = await gateway.get("/few/3")
            assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-streams")
            assert (refused.json()["delivered"], refused.headers["retry-after"]) == ("no", "5")
            async with read(gateway, "/orders/1"):
                assert (await gateway.get("/orders/2")).status_code == 429
            await eventually(lambda: count_open(gateway) == 2)
            async with read(gateway, "/orders/2") as reader:
                assert reader.response.status_code == 200
        await eventually(lambda: count_open(gateway) == 0)


async def test_a_subscription_that_the_server_refuses_is_a_problem(tmp_path: Path) -> None:
    user = '{user: a, password: b, permissions: {subscribe: ["_INBOX.>", "orders.1.>"]}}'
    with run_nats(tmp_path, f"authorization {{users: [{user}]}}") as server:
        async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
            async with read(gateway, "/orders/1") as reader:
                refused = await gateway.get("/orders/2")
                assert (refused.status_code, refused.json()["type"]) == (502, "/problems/permission-denied")
                assert reader.response.status_code == 200
                async with connect(server.url.replace("//", "//a:b@")) as client:
                    await client.publish("orders.1.events", b"x")
                    assert await reader.next() == {"data": "x"}
            await eventually(lambda: count_open(gateway) == 0)


async def test_a_drain_ends_streams_at_once(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway, read(gateway, "/orders/7") as reader:
        gateway.parts.drain.set()
        with pytest.raises(EOFError):
            await reader.next()
        await eventually(lambda: count_open(gateway) == 0)


@pytest.mark.parametrize("count", [300, pytest.param(3_000, marks=pytest.mark.soak)])
async def test_callers_who_come_and_go_leave_nothing(gateway: Gateway, count: int) -> None:
    async def come_and_go(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /orders/%d HTTP/1.1\r\nHost: t\r\n\r\n" % (number % 7))
        if number % 3:
            await reader.readline()
        writer.transport.abort()

    for start in range(0, count, 30):
        await asyncio.gather(*(come_and_go(start + number) for number in range(30)))
    await eventually(lambda: count_open(gateway) == 0)
    assert gateway.parts.feeds.subscriptions == 0


async def test_a_caller_who_leaves_right_after_the_beginning_is_noticed(gateway: Gateway) -> None:
    async def come_and_go(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /orders/%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
        await reader.readuntil(b"retry")
        writer.close()

    await asyncio.gather(*(come_and_go(number) for number in range(50)))
    async with asyncio.timeout(HEARTBEAT / 2):
        while count_open(gateway):
            await asyncio.sleep(0.05)


async def test_head_has_the_head_of_a_stream(gateway: Gateway) -> None:
    response = await gateway.client.head("/orders/7")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")


AUTH = """\
version: 1
auth:
  users: {type: jwt, issuer: 'https://id.example.com/', audience: orders, secret_file: secret, cookie: token}
routes:
  - {name: orders, method: GET, path: "/orders/{id}", subscribe: "orders.{id}.events", auth: users}
"""


async def test_a_stream_ends_with_the_token_of_its_caller(shared_nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "routes.yaml").write_text(AUTH)
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    routes = load_route_file(tmp_path / "routes.yaml")
    async with run_gateway(shared_nats.url, routes=routes, observers=observers) as gateway:
        assert (await gateway.get("/orders/7")).status_code == 401
        token = jwt.encode(make_claims(exp=int(time.time()) + 2), SECRET, "HS256")
        async with read(gateway, "/orders/7", cookie=f"token={token}") as reader:
            assert reader.response.status_code == 200
            with pytest.raises(EOFError):
                await reader.next()
        await eventually(lambda: len(records) == 2)
    assert dict(records[-1].facts) == {"events": "0", "stream_ended": "expired"}


RULES = """\
version: 1
cors: {allow_origins: "https://app.example.com"}
rate_limits: {few: {average: 1, period: 1h, burst: 2}}
routes:
  - {name: orders, method: GET, path: "/orders/{id}", subscribe: "orders.{id}.events", rate_limit: few}
"""


async def test_pages_of_other_origins_and_limits_of_rates_are_as_on_any_route(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(RULES)
    async with run_gateway(shared_nats.url, routes=load_route_file(tmp_path / "routes.yaml")) as gateway:
        for origin, allowed in (("https://app.example.com", "https://app.example.com"), ("https://evil.example", None)):
            async with read(gateway, "/orders/7", origin=origin) as reader:
                assert reader.response.status_code == 200
                assert reader.response.headers.get("access-control-allow-origin") == allowed
        refused = await gateway.get("/orders/7")
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/rate-limited")
        await eventually(lambda: count_open(gateway) == 0)
