"""Routes with `subscribe` and `stream`: callers go on where they were, and no message is missing or comes twice."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Container
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import ServerError

from app.http.events import HEARTBEAT
from app.routing.kinds import Since, Subscribe
from app.routing.routes import Route
from tests.harness import PATIENCE, Gateway, NatsServer, connect, eventually, run_gateway, run_nats, run_nats_cluster
from tests.http.test_streams import Reader, count_open, read


def make_route(name: str, kind: Subscribe, **more: Any) -> Route:
    return Route(name=name, methods=("GET",), path=f"/{name}/{{id}}", subject="numbers.{id}", kind=kind, **more)


ROUTES = (
    make_route("new", Subscribe(stream="NUMBERS")),
    make_route("all", Subscribe(stream="NUMBERS", start="all")),
    make_route("last", Subscribe(stream="NUMBERS", start="last")),
    make_route("nowhere", Subscribe(stream="NOWHERE")),
    make_route("since", Subscribe(stream="NUMBERS", start=Since(3.0))),
    Route(
        name="each",
        methods=("GET",),
        path="/each",
        subject="numbers.*",
        kind=Subscribe(stream="NUMBERS", start="last_per_subject", event_header="Nats-Subject"),
    ),
)


@pytest.fixture
async def stream(shared_nats: NatsServer) -> AsyncIterator[JetStreamContext]:
    async with connect(shared_nats.url) as client, keep_stream(client.jetstream()) as context:
        yield context


@contextlib.asynccontextmanager
async def keep_stream(context: JetStreamContext) -> AsyncIterator[JetStreamContext]:
    """An empty stream NUMBERS on `numbers.*`."""
    await context.add_stream(StreamConfig(name="NUMBERS", subjects=["numbers.*"]))
    try:
        yield context
    finally:
        with contextlib.suppress(Exception):  # a test may have deleted it
            await context.delete_stream("NUMBERS")


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        yield gateway
        await eventually(lambda: count_open(gateway) == 0)
        assert gateway.parts.feeds.subscriptions == 0


async def write(stream: JetStreamContext, numbers: range, subject: str = "numbers.a") -> None:
    for number in numbers:
        await stream.publish(subject, b"%d" % number)


def is_attached(gateway: Gateway) -> bool:
    """Whether a caller has come to the end of its stream, and gets what is new."""
    return any(tail.list_feeds() for tail in gateway.parts.feeds._tails.values())


UNAVAILABLE = '{"cause":"unavailable"}'  # comes once if NATS is not back within two seconds


async def read_numbers(reader: Reader, count: int, *, notes: Container[str] = ()) -> list[tuple[int, int]]:
    """The ids and numbers of so many events, without gaps that have these data."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        event = await reader.next()
        if event["data"] not in notes:
            found.append((int(event["id"]), int(event["data"])))
    return found


async def test_new_messages_come_with_their_sequence(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(3))
    async with read(gateway, "/new/a") as reader:
        await write(stream, range(100), "numbers.b")
        await write(stream, range(3, 6))
        assert await read_numbers(reader, 3) == [(104, 3), (105, 4), (106, 5)]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_caller_goes_on_behind_its_last_event(how: str, gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(500))
    path, headers = ("/new/a", {"last_event_id": "7"}) if how == "header" else ("/new/a?last_event_id=7", {})
    async with read(gateway, path, **{name.replace("_", "-"): value for name, value in headers.items()}) as reader:
        assert await read_numbers(reader, 493) == [(number + 1, number) for number in range(7, 500)]
        await write(stream, range(500, 510))
        assert await read_numbers(reader, 10) == [(number + 1, number) for number in range(500, 510)]


async def test_it_may_begin_with_the_first_or_the_last_message(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(5))
    await write(stream, range(5), "numbers.b")
    async with read(gateway, "/all/a") as reader, read(gateway, "/last/a") as other, read(gateway, "/last/c") as third:
        assert await read_numbers(reader, 5) == [(number + 1, number) for number in range(5)]
        assert await read_numbers(other, 1) == [(5, 4)]
        await write(stream, range(1), "numbers.c")
        assert await read_numbers(third, 1) == [(11, 0)]


@pytest.mark.parametrize("path", ["/all/a", "/last/a", "/since/a", "/each"])
async def test_the_first_message_of_a_new_stream_comes_without_a_gap(
    path: str, gateway: Gateway, stream: JetStreamContext
) -> None:
    async with read(gateway, path) as reader:
        await eventually(lambda: is_attached(gateway))
        await write(stream, range(2))
        assert await read_numbers(reader, 2) == [(1, 0), (2, 1)]


async def test_a_caller_who_leaves_a_new_stream_is_noticed_before_the_next_sign_of_life(
    gateway: Gateway, stream: JetStreamContext
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /all/a HTTP/1.1\r\nHost: t\r\n\r\n")
    await reader.readuntil(b"retry: ")  # with unread bytes it would be reset, which is noticed at once
    await eventually(lambda: is_attached(gateway))
    writer.close()
    async with asyncio.timeout(HEARTBEAT / 2):
        await eventually(lambda: count_open(gateway) == 0)


async def test_it_may_begin_with_the_last_message_of_each_subject(gateway: Gateway, stream: JetStreamContext) -> None:
    for number in range(500):
        await stream.publish(f"numbers.{number // 2}", b"%d" % number)
    async with read(gateway, "/each") as reader, read(gateway, "/each", **{"last-event-id": "nonsense"}) as other:
        assert json.loads((await other.next())["data"]) == {"cause": "unknown-id"}
        for one in (reader, other):
            found = [await one.next() for _ in range(250)]
            expected = [(f"numbers.{number}", str(2 * number + 2)) for number in range(250)]
            assert [(event["event"], event["id"]) for event in found] == expected
        await write(stream, range(1), "numbers.new")
        assert await reader.next() == {"event": "numbers.new", "id": "501", "data": "0"}
    async with read(gateway, "/each", **{"last-event-id": "400"}) as reader:
        found = [await reader.next() for _ in range(101)]
        assert [event["id"] for event in found] == [str(number) for number in range(401, 502)]
    await eventually_count_consumers(stream, 0)


async def test_it_may_begin_with_the_messages_of_a_time(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(3))
    async with read(gateway, "/since/a") as reader:
        assert await read_numbers(reader, 3) == [(1, 0), (2, 1), (3, 2)]
    await asyncio.sleep(3.0)  # as long as the route looks back
    await write(stream, range(3, 5))
    async with read(gateway, "/since/a") as reader:
        assert await read_numbers(reader, 2) == [(4, 3), (5, 4)]
    await asyncio.sleep(3.0)  # as long as the route looks back
    async with read(gateway, "/since/a") as reader:
        await write(stream, range(5, 6))
        assert await read_numbers(reader, 1) == [(6, 5)]
    await eventually_count_consumers(stream, 0)


async def eventually_count_consumers(stream: JetStreamContext, expected: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await stream.stream_info("NUMBERS")).state.consumer_count != expected:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("last_id", "gap"),
    [
        ("2", {"cause": "purged", "first": 3, "last": 5}),
        ("99", {"cause": "ahead", "first": 9, "last": 99}),
        ("abc", {"cause": "unknown-id"}),
        ("-1", {"cause": "unknown-id"}),
        ("9" * 30, {"cause": "unknown-id"}),
    ],
)
async def test_what_can_not_be_had_is_a_gap(
    last_id: str, gap: dict[str, object], gateway: Gateway, stream: JetStreamContext
) -> None:
    await write(stream, range(8))
    await stream.purge_stream("NUMBERS", seq=6)
    async with read(gateway, "/new/a", **{"last-event-id": last_id}) as reader:
        event = await reader.next()
        assert (event["event"], json.loads(event["data"])) == ("gap", gap)
        await write(stream, range(8, 9))
        assert await read_numbers(reader, 1) == ([(6, 5)] if gap["cause"] == "purged" else [(9, 8)])


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"1, 2", b" 3 ", b"3" * 5000, b"0x3", b"3.0", b"+3", b"\xd9\xa3", b"%33", b"", b'"3"']
)
async def test_any_bytes_may_be_the_last_id(value: bytes, gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(5))
    for head in (
        b"GET /all/a HTTP/1.1\r\nLast-Event-ID: %b" % value,
        b"GET /all/a?last_event_id=%b HTTP/1.1" % quote(value),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + b"\r\nHost: t\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 200 ")
        await asyncio.wait_for(reader.readuntil(b"data: 4\n"), PATIENCE)
        writer.transport.abort()


def quote(value: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in value)


async def test_a_query_with_very_many_parameters_has_no_last_id(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(1))
    async with read(gateway, "/all/a?" + "x&" * 2000 + "last_event_id=1") as reader:
        assert await read_numbers(reader, 1) == [(1, 0)]


async def test_a_strict_query_may_have_the_last_id(shared_nats: NatsServer, stream: JetStreamContext) -> None:
    strict = make_route("strict", Subscribe(stream="NUMBERS"), query="strict")
    await write(stream, range(2))
    async with run_gateway(shared_nats.url, routes=(strict,)) as gateway:
        async with read(gateway, "/strict/a?last_event_id=1") as reader:
            assert await read_numbers(reader, 1) == [(2, 1)]
        assert (await gateway.get("/strict/a?last_event=1")).status_code == 422
        await eventually(lambda: count_open(gateway) == 0)


async def test_large_messages_of_the_past_come_in_one_stream(gateway: Gateway, stream: JetStreamContext) -> None:
    for _ in range(100):
        await stream.publish("numbers.a", b"x" * 20_000)
    await stream.publish("numbers.a", b"\n" * 200_000)  # a line of its own for each is more than a queue may have
    async with read(gateway, "/all/a") as reader:
        found = [await reader.next() for _ in range(101)]
        assert [int(event["id"]) for event in found] == list(range(1, 102))
        await stream.publish("numbers.a", b"\n" * 200_000)
        assert int((await reader.next())["id"]) == 102


async def test_a_caller_comes_to_a_full_ring_in_one_stream(gateway: Gateway, stream: JetStreamContext) -> None:
    async with read(gateway, "/new/a") as first:
        await write(stream, range(600))
        assert len(await read_numbers(first, 600)) == 600
        async with read(gateway, "/all/a") as second:
            assert await read_numbers(second, 600) == [(number + 1, number) for number in range(600)]


async def test_lines_have_ids_too(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(2))
    async with read(gateway, "/all/a", accept="application/x-ndjson") as reader:
        assert [await reader.line() for _ in range(2)] == ['{"id":1,"data":0}', '{"id":2,"data":1}']


async def test_all_callers_share_one_consumer(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(10))
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(read(gateway, "/new/a", **{"last-event-id": str(number % 10)}))
            for number in range(50)
        ]
        await write(stream, range(10, 20))
        for number, reader in enumerate(readers):
            expected = [(n + 1, n) for n in range(number % 10, 20)]
            assert await read_numbers(reader, len(expected)) == expected
        assert (await stream.stream_info("NUMBERS")).state.consumer_count == 1


async def test_a_slow_caller_is_ended_and_misses_nothing_when_it_comes_again(
    gateway: Gateway, stream: JetStreamContext
) -> None:
    seen: list[int] = []
    async with read(gateway, "/new/a") as slow:
        for number in range(2000):
            await stream.publish("numbers.a", b"%d %b" % (number, b"x" * 10_000))
        with contextlib.suppress(EOFError):
            while True:
                event = await slow.next()
                assert "event" not in event
                seen.append(int(event["id"]))
    assert 0 < len(seen) < 2000
    async with read(gateway, "/new/a", **{"last-event-id": str(seen[-1])}) as reader:
        while len(seen) < 2000:
            seen.append(int((await reader.next())["id"]))
    assert seen == list(range(1, 2001))


async def test_it_goes_on_after_nats_was_away(own_nats: NatsServer) -> None:
    async with connect(own_nats.url) as client:
        await client.jetstream().add_stream(StreamConfig(name="NUMBERS", subjects=["numbers.*"]))
        await write(client.jetstream(), range(5))
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway, read(gateway, "/all/a") as reader:
        assert await read_numbers(reader, 5) == [(number + 1, number) for number in range(5)]
        own_nats.kill()
        await asyncio.to_thread(own_nats.start)
        async with connect(own_nats.url) as client:
            await write(client.jetstream(), range(5, 10))
        expected = [(number + 1, number) for number in range(5, 10)]
        assert await read_numbers(reader, 5, notes={UNAVAILABLE}) == expected


async def test_a_caller_who_leaves_is_noticed_while_its_stream_can_not_be_read(own_nats: NatsServer) -> None:
    async with connect(own_nats.url) as client:
        context = client.jetstream()
        await context.add_stream(StreamConfig(name="NUMBERS", subjects=["numbers.*"]))
        for _ in range(100):
            await context.publish("numbers.a", bytes(900_000))
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /all/a HTTP/1.1\r\nHost: t\r\n\r\n")
        await reader.readuntil(b"id: 1")
        own_nats.kill()
        with contextlib.suppress(TimeoutError):  # with unread bytes it would be reset, which is noticed at once
            while await asyncio.wait_for(reader.read(1_000_000), 1.0):
                pass
        assert count_open(gateway) == 1
        writer.close()
        async with asyncio.timeout(HEARTBEAT / 2):
            await eventually(lambda: count_open(gateway) == 0)


async def make_again(stream: JetStreamContext) -> None:
    """Make the stream again. The server may still remove the files of the one before."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ServerError):
                await stream.add_stream(StreamConfig(name="NUMBERS", subjects=["numbers.*"]))
                return
            await asyncio.sleep(0.1)


async def test_a_stream_that_is_made_again_is_a_gap(gateway: Gateway, stream: JetStreamContext) -> None:
    await write(stream, range(5))
    async with read(gateway, "/all/a") as reader:
        await read_numbers(reader, 5)
        await stream.delete_stream("NUMBERS")
        await make_again(stream)
        await write(stream, range(3))
        gaps = []
        async with asyncio.timeout(PATIENCE):
            while (event := await reader.next()).get("event") == "gap":
                gaps.append(json.loads(event["data"])["cause"])
        assert gaps[-1] == "reset"
        assert (event["id"], event["data"]) == ("1", "0")
        assert await read_numbers(reader, 2) == [(2, 1), (3, 2)]


async def test_without_its_stream_a_route_is_unavailable(gateway: Gateway) -> None:
    response = await gateway.get("/nowhere/a")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/stream-unavailable")
    assert response.json()["detail"] == "There is no such stream."
    assert (response.json()["delivered"], response.json()["retryable"]) == ("no", True)


async def test_the_documented_permissions_suffice(tmp_path: Path) -> None:
    page = (
        (Path(__file__).parents[2] / "docs" / "streams.md")
        .read_text()
        .partition("NATS user needs to publish to ")[2]
        .split("\n- ")[0]
    )
    *publish, subscribe = re.findall(r"`([^`]+)`", page)
    allowed = f"{{publish: {json.dumps(publish)}, subscribe: {json.dumps([subscribe])}}}"
    users = f"{{user: a, password: b, permissions: {allowed}}}, {{user: all, password: b}}"
    with run_nats(tmp_path, f"authorization {{users: [{users}]}}") as server:
        async with connect(server.url.replace("//", "//all:b@")) as client, keep_stream(client.jetstream()) as stream:
            await write(stream, range(500))
            async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
                async with read(gateway, "/all/a") as reader:
                    assert len(await read_numbers(reader, 500)) == 500
                async with read(gateway, "/each") as reader, read(gateway, "/last/a") as other:
                    assert (await reader.next())["id"] == (await other.next())["id"] == "500"
                async with read(gateway, "/since/a") as reader:
                    await write(stream, range(500, 501))
                    await reader.next()
                await eventually(lambda: count_open(gateway) == 0)
                await eventually_count_consumers(stream, 0)


async def test_without_jetstream_a_route_is_unavailable_and_others_answer(tmp_path: Path) -> None:
    without = "no_auth_user: sue\naccounts: {A: {users: [{user: sue, password: b}]}}"  # in it JetStream is off
    with run_nats(tmp_path, without) as server:
        async with run_gateway(server.url, routes=ROUTES) as gateway:
            response = await gateway.get("/new/a")
            assert (response.status_code, response.json()["type"]) == (503, "/problems/stream-unavailable")
            assert (await gateway.get("/readyz")).status_code == 200


async def test_without_quorum_a_route_is_unavailable(tmp_path: Path) -> None:
    with run_nats_cluster(tmp_path, 3) as nodes:
        async with connect(nodes[0].url) as client:
            await eventually(lambda: len(client.servers) == 3)
            async with asyncio.timeout(PATIENCE):
                while True:  # until the cluster has a leader
                    with contextlib.suppress(Exception):
                        await client.jetstream().add_stream(
                            StreamConfig(name="NUMBERS", subjects=["numbers.*"], num_replicas=3)
                        )
                        break
                    await asyncio.sleep(0.1)
        async with run_gateway(nodes[0].url, routes=ROUTES) as gateway:
            for node in nodes[1:]:
                node.kill()
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with gateway.client.stream("GET", "/new/a") as response:
                        if response.status_code != 200:  # else it still has a leader
                            await response.aread()
                            break
            assert (response.status_code, response.json()["type"]) == (503, "/problems/stream-unavailable")
            assert (await gateway.get("/readyz")).status_code == 200
