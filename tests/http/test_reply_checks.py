"""Replies that are checked by the schema of their route."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.observe.record import Observers, Record
from app.routefile.load import load_route_file
from tests.harness import Gateway, NatsServer, RawPeer, run_gateway

ROUTES = """\
version: 1
routes:
  - name: order
    method: GET
    path: /order
    subject: test.order
    timeout: 10s
    reply:
      content_type: application/json
      validate: true
      schema: &order {type: object, required: [id], properties: {id: {type: integer}}}
      headers: [location]
      statuses:
        202: {description: It will be there., schema: {type: array}, headers: {Location: Where.}}
        204: {description: There is none.}
"""
LONG = b'"' + b"x" * 40_000 + b'"'


@pytest_asyncio.fixture
async def records() -> list[Record]:
    return []


@pytest_asyncio.fixture
async def gateway(shared_nats: NatsServer, tmp_path: Path, records: list[Record]) -> AsyncIterator[Gateway]:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES)
    observers = Observers(failure=(records.append,), other=(records.append,))
    async with run_gateway(shared_nats.url, routes=load_route_file(path), observers=observers) as gateway:
        yield gateway


async def answer(gateway: Gateway, nats: str, reply: bytes, block: bytes = b"", method: str = "GET") -> httpx.Response:
    async with RawPeer.connect(nats, "test.>") as peer:
        asking = asyncio.create_task(gateway.client.request(method, "/order"))
        message = await peer.next()
        peer.publish(message.reply, b"NATS/1.0\r\n" + block + b"\r\n", reply)
        return await asking


@pytest.mark.parametrize(
    ("reply", "block", "status"),
    [
        (b'{"id":7}', b"", 200),
        (b' {"id":7, "x":' + LONG + b"}", b"", 200),
        (b"[1]", b"Http-Status: 202\r\nLocation: /x\r\n", 202),
        (b"", b"Http-Status: 204\r\n", 204),
        (b"not JSON", b"Http-Status: 418\r\n", 418),
        (b"sorry", b"Nats-Service-Error-Code: 409\r\nNats-Service-Error: no\r\n", 409),
    ],
    ids=["fits", "fits and is long", "another status", "no content", "a status without schema", "a service error"],
)
async def test_a_reply_that_fits_its_schema_passes_byte_for_byte(
    gateway: Gateway, shared_nats: NatsServer, reply: bytes, block: bytes, status: int
) -> None:
    response = await answer(gateway, shared_nats.url, reply, block)
    assert (response.status_code, response.content) == (status, reply)
    head = await answer(gateway, shared_nats.url, reply, block, method="HEAD")
    assert (head.status_code, head.content) == (status, b"")
    if status != 204:
        assert head.headers["content-length"] == str(len(reply))


@pytest.mark.parametrize(
    ("reply", "block", "fault"),
    [
        (b'{"id":"secret"}', b"", "#/id: it is not of type"),
        (b'{"id":"secret","x":' + LONG + b"}", b"", "#/id: it is not of type"),
        (b"not JSON", b"", "#: it is not JSON"),
        (b"", b"", "#: it is empty"),
        (b'{"id":7}', b"Http-Status: 202\r\n", "#: it is not of type"),
    ],
    ids=["breaks it", "breaks it and is long", "no JSON", "empty", "another status"],
)
async def test_a_reply_that_breaks_its_schema_is_a_bad_one_and_only_the_log_says_where(
    gateway: Gateway, shared_nats: NatsServer, records: list[Record], reply: bytes, block: bytes, fault: str
) -> None:
    response = await answer(gateway, shared_nats.url, reply, block)
    problem = response.json()
    assert (response.status_code, problem["type"], problem["delivered"]) == (502, "/problems/bad-reply", "yes")
    assert problem["detail"] == "The service's reply is not what its route declares."
    assert "secret" not in response.text
    assert "/id" not in response.text
    (record,) = records
    assert (record.slug, record.route, record.status) == ("bad-reply", "order", 502)
    assert dict(record.facts)["reply_fault"].startswith(fault)
    assert record.reply_time is not None
    assert (await answer(gateway, shared_nats.url, b'{"id":7}')).status_code == 200
