"""Services that answer `$SRV.STATS`: real ones of nats-py, and others that reply anything."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from nats.micro.service import EndpointConfig, Service, ServiceConfig

from app.discovery import services
from app.discovery.messages import MAX_NAME
from app.discovery.services import (
    MAX_COUNT,
    MAX_ENDPOINTS,
    MAX_INSTANCES,
    MAX_REPLY,
    MAX_SERVICES,
    MAX_SUBJECTS,
    STATS,
    SUBJECT,
    Services,
    ask_services,
    sum_up,
)
from app.errors import GatewayError
from app.formats.messages import Reply
from app.nats.gathering import Gathered
from app.nats.link import Link
from app.pieces import run_at_once
from tests.harness import NatsServer, RawPeer, connect, eventually, run_gateway, run_nats


@contextlib.asynccontextmanager
async def run_link(url: str) -> AsyncIterator[Link]:
    async with Link([url], max_in_flight=100) as link:
        await eventually(lambda: link.reason is None)
        yield link
        assert link.in_flight == 0


async def answer(request: Request) -> None:
    if request.data == b"fail":
        raise ServiceError("500", "as asked")
    await request.respond(b"ok")


async def run_service(client: Client, name: str, version: str, *subjects: str) -> Service:
    service = await add_service(client, ServiceConfig(name=name, version=version))
    for number, subject in enumerate(subjects):
        await service.add_endpoint(EndpointConfig(name=f"e{number}", subject=subject, handler=answer))
    return service


@pytest.fixture
async def client(own_nats: NatsServer) -> AsyncIterator[Client]:
    async with connect(own_nats.url) as client:
        yield client


async def test_instances_are_summed_up_by_name_and_version(own_nats: NatsServer, client: Client) -> None:
    assert await ask_empty(own_nats.url) == Services()
    for _ in range(3):
        await run_service(client, "orders", "1.0.0", "orders.*.get", "orders.new")
    await run_service(client, "orders", "2.0.0", "orders.*.get")
    await run_service(client, "greet", "1.0.0", "greet.*")
    await client.flush()
    for payload in (b"", b"", b"fail"):
        await client.request("orders.new", payload)
    async with run_link(own_nats.url) as link:
        found = await ask_services(link)
    assert (found.cut, found.note) == (False, None)
    greet, first, second = found.services
    assert (greet.name, greet.version, greet.instances, greet.subjects) == ("greet", "1.0.0", 1, ("greet.*",))
    assert (greet.requests, greet.average) == (0, None)
    assert (first.version, first.instances, first.requests, first.errors) == ("1.0.0", 3, 3, 1)
    assert first.subjects == ("orders.*.get", "orders.new")
    assert first.average is not None
    assert 0 < first.average < 1
    assert (second.version, second.instances) == ("2.0.0", 1)


async def ask_empty(url: str) -> Services:
    async with run_link(url) as link:
        return await ask_services(link)


async def test_300_instances_are_all_heard_and_requests_beside_them_go_on(own_nats: NatsServer, client: Client) -> None:
    for _ in range(300):
        await run_service(client, "many", "1.0.0", "many.*")
    await client.flush()
    async with run_link(own_nats.url) as link:
        asking = asyncio.create_task(ask_services(link))
        while not asking.done():
            reply = await link.request("many.x", b"", b"", time.monotonic() + 5)
            assert isinstance(reply, Reply)
        assert [service.instances for service in asking.result().services] == [300]


async def test_a_service_that_is_gone_is_not_listed_and_one_that_answers_late_holds_up_nobody(
    own_nats: NatsServer, client: Client
) -> None:
    service = await run_service(client, "gone", "1.0.0", "gone")
    await run_service(client, "here", "1.0.0", "here")
    async with RawPeer.connect(own_nats.url, SUBJECT) as late, run_link(own_nats.url) as link:
        started = time.monotonic()
        assert [found.name for found in (await ask_services(link)).services] == ["gone", "here"]
        assert time.monotonic() - started < services.WITHIN
        late.publish((await late.next()).reply, b"NATS/1.0\r\n\r\n", write("late"))
        await service.stop()
        assert [found.name for found in (await ask_services(link)).services] == ["here"]


async def test_who_lies_or_floods_hides_no_service_that_answered_before(own_nats: NatsServer, client: Client) -> None:
    await run_service(client, "true", "1.0.0", "true")
    async with RawPeer.connect(own_nats.url, SUBJECT) as liar, run_link(own_nats.url) as link:
        asking = asyncio.create_task(ask_services(link))
        reply = (await liar.next()).reply
        liar.publish(reply, b"NATS/1.0 503\r\n\r\n")
        for payload in RUBBISH:
            liar.publish(reply, b"NATS/1.0\r\n\r\n", payload)
        await asyncio.sleep(0.1)
        liar.write(b"PUB %b 1\r\nx\r\n" % reply * (MAX_INSTANCES + 1000))
        found = await asking
        assert [service.name for service in found.services] == ["true"]
        assert found.cut


async def test_a_user_who_may_not_ask_is_told_and_requests_go_on(own_nats: NatsServer) -> None:
    own_nats.reload("authorization {users: [{user: u, password: p, permissions: {publish: {deny: '$SRV.>'}}}]}")
    url = own_nats.url.replace("//", "//u:p@")
    async with connect(url) as client, run_gateway(url) as gateway:
        await run_service(client, "greet", "1.0.0", "greet.*")
        await client.flush()
        server = gateway.link._connection
        found = await ask_services(gateway.link)
        assert found.services == ()
        assert found.note
        assert SUBJECT in found.note
        assert (await gateway.get("/greet/sue")).status_code == 200
        assert gateway.link._connection is server


async def test_without_nats_the_note_says_so_at_once(tmp_path: Path) -> None:
    with run_nats(tmp_path / "lost") as server:
        async with connect(server.url) as client, run_link(server.url) as link:
            await run_service(client, "early", "1.0.0", "early")
            await client.flush()
            async with RawPeer.connect(server.url, SUBJECT) as peer:
                asking = asyncio.create_task(ask_services(link))
                await peer.next()
                await asyncio.sleep(0.1)
                server.kill()
                lost = await asyncio.wait_for(asking, services.STALL)
            assert [service.name for service in lost.services] == ["early"]
            assert "lost" in str(lost.note)
            none = await asyncio.wait_for(ask_services(link), 0.2)
            assert none == Services(note="The gateway has no connection to NATS.")
            await client.close()


def write(name: object = "n", version: object = "1.0.0", id_: object = "i", endpoints: object = ()) -> bytes:
    """Statistics as a service writes them."""
    return json.dumps({"type": STATS, "name": name, "version": version, "id": id_, "endpoints": endpoints}).encode()


def read(*payloads: bytes, cut: bool = False, error: GatewayError | None = None) -> Services:
    return run_at_once(sum_up(Gathered(tuple(Reply(b"", payload) for payload in payloads), cut, error)))


RUBBISH = [
    b"",
    b"\xff\x00",
    b"[]",
    b"7",
    b"null",
    b"[" * 6000,
    b'{"a":' * 6000,
    b'{"type":' + b"1" * 5000 + b"}",
    json.dumps({"name": "n", "version": "1.0.0", "id": "i"}).encode(),
    write().replace(b"stats", b"info"),
    write(name=None),
    write(name=""),
    write(name=["n"]),
    write(name="n" * (MAX_NAME + 1)),
    write(name="n\n"),
    write(name="\u202en"),
    write(name="\ud800"),
    write(version=1),
    write(version="1" * 1000),
    write(id_={}),
    write(endpoints={"a": 1}),
    write(endpoints=7),
]


@pytest.mark.parametrize("payload", RUBBISH)
def test_a_reply_that_is_no_statistics_is_left_out(payload: bytes) -> None:
    assert read(payload, write("fine"), payload) == read(write("fine"))


NUMBERS = ["NaN", "Infinity", "-Infinity", "-1", "1e400", "true", '"7"', "[]", "null", "9" * 4000, str(2**63), "1e30"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_can_t_be_true_counts_as_nothing(number: str) -> None:
    endpoint = {"subject": "s", "num_requests": 2, "num_errors": 1, "processing_time": 3e9}
    lie = write(id_="liar", endpoints=[dict.fromkeys(endpoint, "NUMBER") | {"subject": "t"}])
    [service] = read(write(endpoints=[endpoint]), lie.replace(b'"NUMBER"', number.encode())).services
    assert (service.instances, service.requests, service.errors, service.average) == (2, 2, 1, 1.5)
    assert service.subjects == ("s", "t")


def test_an_instance_counts_once_and_endpoints_that_are_none_are_left_out() -> None:
    endpoints: list[object] = [
        None,
        7,
        [],
        {},
        {"subject": 7},
        {"subject": "s" * 1000},
        {"subject": "s", "num_requests": 5},
    ]
    [service] = read(*[write(endpoints=endpoints)] * 5, write(endpoints=None, id_="other")).services
    assert (service.instances, service.requests, service.subjects) == (2, 5, ("s",))


def test_every_number_has_a_bound_and_it_is_told_where_one_was_reached() -> None:
    assert not read(write()).cut
    assert read(write(), cut=True).cut
    assert read(write(name="n" * MAX_REPLY)) == Services(cut=True)
    for tiny in ("[]", "{}", "1"):
        assert read(write(endpoints=["X"] * 9000).replace(b'"X"', tiny.encode())) == Services(cut=True)
    many = read(*(write(name=f"n{number}") for number in range(MAX_SERVICES + 1)))
    assert (len(many.services), many.cut) == (MAX_SERVICES, True)
    for count in (MAX_SUBJECTS + 1, MAX_ENDPOINTS + 1, 10_000):
        wide = read(write(endpoints=[{"subject": f"s{number}"} for number in range(count)]), write("fine"))
        assert wide.cut
        assert wide.services[0].name == "fine"
        assert all(len(service.subjects) <= MAX_SUBJECTS for service in wide.services)
    [huge] = read(*(write(id_=id_, endpoints=[{"num_requests": MAX_COUNT}]) for id_ in "abc")).services
    assert huge.requests == MAX_COUNT


def test_an_error_that_nobody_expects_has_a_note_too() -> None:
    class Strange(GatewayError):
        slug, title, status = "strange", "Strange", 500
        cause = cure = "Unknown."

    assert read(error=Strange()).note == "The services could not be asked."
