"""What a service gets as headers, beyond those that pass as they are."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.routefile.load import load_route_file
from tests.harness import Gateway, NatsServer, RawMessage, RawPeer, run_gateway

ROUTES = """\
version: 1
routes:
  - name: renamed
    method: GET
    path: /renamed
    subject: test.renamed
    headers: [Traceparent, {name: X-Tenant, as: tenant}, {name: x-request-id, as: Correlation-Id}]
  - {name: usual, method: GET, path: /usual, subject: test.usual, send_headers: {X-Source: "100 %"}}
  - {name: bare, method: GET, path: /bare, subject: test.bare, headers: []}
  - name: timed
    method: [GET, PUT]
    path: /timed
    subject: test.timed
    timeout: 5s
    headers: [{name: X-Request-Timeout, as: Time-Left}]
  - {name: timed-too, method: GET, path: /timed-too, subject: test.timed, headers: [x-request-id, x-request-timeout]}
"""


@pytest_asyncio.fixture
async def gateway(shared_nats: NatsServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES)
    async with run_gateway(shared_nats.url, routes=load_route_file(path)) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def peer(shared_nats: NatsServer) -> AsyncIterator[RawPeer]:
    async with RawPeer.connect(shared_nats.url, "test.>") as peer:
        yield peer


async def ask(
    gateway: Gateway, peer: RawPeer, path: str, headers: dict[str, str] | None = None, *, body: bytes = b""
) -> tuple[str, RawMessage]:
    """The id of the response, and what the service got."""
    method = "PUT" if body else "GET"
    asking = asyncio.create_task(gateway.client.request(method, path, headers=headers, content=body or None))
    message = await peer.next()
    peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
    return (await asking).headers["x-request-id"], message


async def test_a_header_travels_under_the_name_that_its_route_gives_it(gateway: Gateway, peer: RawPeer) -> None:
    sent = {"x-tenant": "acme", "tenant": "forged", "traceparent": "00-1", "x-request-id": "r"}
    _, message = await ask(gateway, peer, "/renamed", sent)
    assert message.headers == b"NATS/1.0\r\ntenant: acme\r\nTraceparent: 00-1\r\nCorrelation-Id: r\r\n\r\n"


@pytest.mark.parametrize("sent", [None, {"x-request-id": "mine"}, {"x-request-id": "not clean"}, {"cookie": "a=1"}])
async def test_the_service_gets_the_id_that_the_caller_is_answered_with(
    gateway: Gateway, peer: RawPeer, sent: dict[str, str] | None
) -> None:
    request_id, message = await ask(gateway, peer, "/usual", sent)
    assert message.headers == f"NATS/1.0\r\nX-Source: 100 %\r\nx-request-id: {request_id}\r\n\r\n".encode()
    assert (request_id == "mine") == (sent == {"x-request-id": "mine"})


async def test_a_route_can_list_the_id_away_and_so_can_connection(gateway: Gateway, peer: RawPeer) -> None:
    for sent in (None, {"x-request-id": "mine"}):
        assert (await ask(gateway, peer, "/bare", sent))[1].headers == b""
    _, message = await ask(gateway, peer, "/usual", {"connection": "x-request-id", "x-request-id": "mine"})
    assert message.headers == b"NATS/1.0\r\nX-Source: 100 %\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "most"), [(None, 5000), ({"x-request-timeout": "1500ms"}, 1500), ({"x-request-timeout": "9m"}, 30_000)]
)
async def test_the_service_hears_how_many_milliseconds_are_left(
    gateway: Gateway, peer: RawPeer, sent: dict[str, str] | None, most: int
) -> None:
    for body in (b"", b"x"):
        _, message = await ask(gateway, peer, "/timed", sent, body=body)
        first, name, left = message.headers.removesuffix(b"\r\n\r\n").replace(b": ", b"\r\n").split(b"\r\n")
        assert (first, name) == (b"NATS/1.0", b"Time-Left")
        assert 0 < int(left) <= most


async def test_the_time_that_an_upload_took_is_not_left(gateway: Gateway, peer: RawPeer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"PUT /timed HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nConnection: close\r\n\r\nh")
    begun = time.monotonic()
    await asyncio.sleep(0.3)
    writer.write(b"i")
    message = await peer.next()
    peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
    assert b" 200 " in await reader.read()
    writer.close()
    assert int(message.headers.split()[-1]) <= 5000 - 200  # the head took a while to come as well
    assert time.monotonic() - begun >= 0.3


async def test_beside_the_time_that_is_left_stands_the_id(gateway: Gateway, peer: RawPeer) -> None:
    request_id, message = await ask(gateway, peer, "/timed-too", {"x-request-timeout": "1s"})
    lines = message.headers.split(b"\r\n")
    assert lines[:2] == [b"NATS/1.0", b"x-request-id: " + request_id.encode()]
    assert lines[2].startswith(b"x-request-timeout: ")
    assert lines[3:] == [b"", b""]
