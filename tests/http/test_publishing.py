"""Routes that publish: 202 once the NATS server has the message, 201 once a stream has stored it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig

from app.routing.kinds import Publish, Store
from app.routing.routes import Route
from tests.harness import Gateway, NatsServer, RawPeer, connect, eventually, run_gateway, run_nats


def make_route(name: str, *, subject: str = "", **more: Any) -> Route:
    return Route(
        name=name, methods=("POST",), path=f"/{name}/{{id}}", subject=subject or f"{name}.{{id}}.cancel", **more
    )


EVENTS = make_route("events", kind=Publish())
ORDERS = make_route("orders", kind=Store("ORDERS"))
STRICT = make_route("strict", subject="orders.{id}.strict", kind=Store("ORDERS", "required"))
WRONG = make_route("wrong", subject="orders.{id}.wrong", kind=Store("OTHER"))
NOBODY = make_route("nobody", kind=Store("ORDERS"))
ROUTES = (EVENTS, ORDERS, STRICT, WRONG, NOBODY)


@pytest.fixture
async def stream(shared_nats: NatsServer) -> AsyncIterator[JetStreamContext]:
    """An empty stream ORDERS on `orders.>`."""
    async with connect(shared_nats.url) as client:
        context = client.jetstream()
        await context.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], max_msg_size=2000))
        try:
            yield context
        finally:
            await context.delete_stream("ORDERS")


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        yield gateway


def read_problem(response: httpx.Response) -> tuple[int, str, str, bool]:
    problem = response.json()
    return response.status_code, problem["type"].rpartition("/")[2], problem["delivered"], problem["retryable"]


async def test_a_message_is_published_with_its_headers_and_no_reply_subject(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    async with RawPeer.connect(shared_nats.url, "events.>") as peer:
        response = await gateway.client.post("/events/7", content=b"\x00\xff", headers={"x-request-id": "abc"})
        message = await peer.next()
    assert (response.status_code, response.content, response.headers["content-length"]) == (202, b"", "0")
    assert (message.subject, message.reply, message.payload) == ("events.7.cancel", b"", b"\x00\xff")
    assert b"x-request-id: abc\r\n" in message.headers


async def test_a_message_that_nobody_listens_to_is_accepted_too(gateway: Gateway) -> None:
    responses = await asyncio.gather(*(gateway.client.post(f"/events/{n}") for n in range(100)))
    assert {response.status_code for response in responses} == {202}
    assert gateway.link.in_flight == 0


async def test_a_large_message_is_published_whole(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with RawPeer.connect(shared_nats.url, "events.>") as peer:
        body = bytes(range(256)) * 2000
        assert (await gateway.client.post("/events/7", content=body)).status_code == 202
        assert (await peer.next()).payload == body


@pytest.mark.parametrize("may_publish", ['["_INBOX.>"]', '["other"]'], ids=["inbox", "no-inbox"])
async def test_a_message_that_the_server_refuses_fails_as_permission_denied(may_publish: str, tmp_path: Path) -> None:
    """The echo is refused as well, where the gateway may not publish to its own inbox."""
    user = f'{{user: a, password: b, permissions: {{publish: {{deny: ["events.>"], allow: {may_publish}}}}}}}'
    with run_nats(tmp_path, f"authorization {{users: [{user}]}}") as server:
        async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
            responses = await asyncio.gather(*(gateway.client.post(f"/events/{n % 3}") for n in range(30)))
            assert {read_problem(response) for response in responses} == {(502, "permission-denied", "no", False)}
            assert gateway.link.in_flight == 0


async def test_messages_pass_where_the_gateway_may_not_publish_to_its_own_inbox(tmp_path: Path) -> None:
    user = '{user: a, password: b, permissions: {publish: ["events.>"]}}'
    with run_nats(tmp_path, f"authorization {{users: [{user}]}}") as server:
        async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
            responses = await asyncio.gather(*(gateway.client.post(f"/events/{n}") for n in range(30)))
            assert {response.status_code for response in responses} == {202}


async def test_of_mixed_messages_only_those_fail_that_the_server_refuses(tmp_path: Path) -> None:
    user = '{user: a, password: b, permissions: {publish: {deny: ["events.2.cancel"]}}}'
    with run_nats(tmp_path, f"authorization {{users: [{user}]}}") as server:
        async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
            responses = await asyncio.gather(*(gateway.client.post(f"/events/{n % 3}") for n in range(60)))
            assert [response.status_code for response in responses] == [202, 202, 502] * 20


async def test_a_server_that_is_frozen_confirms_nothing(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway:
        own_nats.freeze()
        try:
            response = await gateway.client.post("/events/7", headers={"x-request-timeout": "200ms"})
        finally:
            own_nats.thaw()
    assert read_problem(response) == (504, "timeout", "unknown", False)
    assert response.json()["detail"] == "The NATS server did not confirm the message within 200ms."


async def test_without_a_connection_nothing_is_published(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway:
        own_nats.kill()
        await eventually(lambda: gateway.link.reason is not None)
        assert read_problem(await gateway.client.post("/events/7")) == (503, "not-connected", "no", True)


async def test_a_message_is_stored_and_its_sequence_told(gateway: Gateway, stream: JetStreamContext) -> None:
    for sequence in (1, 2):
        response = await gateway.client.post("/orders/7", content=b"tea")
        assert (response.status_code, response.headers["etag"]) == (201, f'"{sequence}"')
        assert response.headers["content-type"] == "application/json"
        assert response.content == b'{"stream":"ORDERS","seq":%d,"duplicate":false}' % sequence
    stored = await stream.get_msg("ORDERS", 2)
    assert (stored.subject, stored.data) == ("orders.7.cancel", b"tea")


async def test_with_the_same_key_a_message_is_stored_once(gateway: Gateway, stream: JetStreamContext) -> None:
    async def send(key: str, path: str = "/orders/7") -> tuple[int, bool]:
        answer = (await gateway.client.post(path, headers={"idempotency-key": key})).json()
        return answer["seq"], answer["duplicate"]

    assert await send('"a b"') == (1, False)
    assert await send("a b") == (1, True)
    assert await send("a") == (2, False)
    assert await send("a", "/orders/8") == (3, False)
    assert await send("a", "/strict/7") == (4, False)
    assert (await stream.stream_info("ORDERS")).state.messages == 4


@pytest.mark.parametrize("key", ["", '""', "é", "a" * 256, '"', 'a"b', '"a", "b"', "a\tb"])
async def test_a_key_that_is_none_is_refused(key: str, gateway: Gateway) -> None:
    response = await gateway.client.post("/orders/7", headers=[(b"idempotency-key", key.encode())])
    assert read_problem(response) == (422, "invalid-parameter", "no", False)
    assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"


async def test_two_fields_with_keys_are_one_key_for_nobody(gateway: Gateway, stream: JetStreamContext) -> None:
    headers = [("idempotency-key", '"a"'), ("idempotency-key", '"b"')]
    assert read_problem(await gateway.client.post("/orders/7", headers=headers))[0] == 422
    assert (await stream.stream_info("ORDERS")).state.messages == 0


async def test_a_route_can_require_a_key(gateway: Gateway, stream: JetStreamContext) -> None:
    response = await gateway.client.post("/strict/7")
    assert read_problem(response) == (400, "idempotency-key-missing", "no", False)
    assert (await gateway.client.post("/strict/7", headers={"idempotency-key": "a"})).status_code == 201


async def test_if_match_is_the_last_sequence_of_the_subject(gateway: Gateway, stream: JetStreamContext) -> None:
    async def send(tag: str) -> httpx.Response:
        return await gateway.client.post("/orders/7", headers={"if-match": tag})

    assert (await send('"0"')).json()["seq"] == 1
    failed = await send('"0"')
    assert read_problem(failed) == (412, "precondition-failed", "no", False)
    await gateway.client.post("/orders/8")
    assert (await send('"1"')).json()["seq"] == 3
    assert (await stream.stream_info("ORDERS")).state.messages == 3


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('W/"1"', 412), ('"x"', 412), ('""', 412), ('"01"', 412), ('"-1"', 412), ('"' + "9" * 20 + '"', 412),
        ('"9999999999999999999"', 412), ("*", 422), ('"1", "2"', 422), ("1", 422), ("", 422), ('"1', 422), ('"', 422),
    ],
)  # fmt: skip
async def test_a_tag_that_no_message_has_does_not_match(
    tag: str, status: int, gateway: Gateway, stream: JetStreamContext
) -> None:
    response = await gateway.client.post("/orders/7", headers={"if-match": tag})
    assert (response.status_code, response.json()["delivered"]) == (status, "no")
    assert (await stream.stream_info("ORDERS")).state.messages == 0


async def test_no_stream_on_the_subject_means_not_stored(gateway: Gateway, stream: JetStreamContext) -> None:
    response = await gateway.client.post("/nobody/7")
    assert read_problem(response) == (502, "not-stored", "no", True)
    assert response.headers["retry-after"] == "1"


async def test_another_stream_than_the_declared_one_stores_nothing(gateway: Gateway, stream: JetStreamContext) -> None:
    assert read_problem(await gateway.client.post("/wrong/7")) == (502, "not-stored", "no", False)
    assert (await stream.stream_info("ORDERS")).state.messages == 0


async def test_a_message_over_the_limit_of_the_stream_is_too_large(gateway: Gateway, stream: JetStreamContext) -> None:
    response = await gateway.client.post("/orders/7", content=b"x" * 3000)
    assert read_problem(response) == (413, "payload-too-large", "no", False)


async def test_a_full_stream_stores_nothing(gateway: Gateway, stream: JetStreamContext) -> None:
    full = StreamConfig(name="ORDERS", subjects=["orders.>"], max_msgs=1, discard=DiscardPolicy.NEW)
    await stream.update_stream(full)
    assert (await gateway.client.post("/orders/7")).status_code == 201
    assert read_problem(await gateway.client.post("/orders/7")) == (502, "not-stored", "no", True)


async def test_a_sealed_stream_stores_nothing(gateway: Gateway, stream: JetStreamContext) -> None:
    await stream.update_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], sealed=True))
    assert read_problem(await gateway.client.post("/orders/7")) == (502, "not-stored", "no", False)


@pytest.mark.parametrize(
    "reply",
    [b"", b"hello", b"[]", b'"x"', b"{}", b'{"stream":"OTHER","seq":1}', b'{"stream":"ORDERS","seq":"1"}',
     b'{"stream":"ORDERS","seq":0}', b'{"error":{"code":500,"err_code":1}}', b'{"error":7}', b"\xff", b"[" * 100_000],
)  # fmt: skip
async def test_an_answer_that_is_no_acknowledgement_leaves_it_open(
    reply: bytes, gateway: Gateway, shared_nats: NatsServer
) -> None:
    async with RawPeer.connect(shared_nats.url, "nobody.>") as peer:
        asking = asyncio.create_task(gateway.client.post("/nobody/7"))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", reply)
        assert read_problem(await asking) == (502, "not-stored", "unknown", False)


@pytest.mark.parametrize("has_key", [False, True])
async def test_what_is_unknown_may_be_repeated_with_a_key(
    has_key: bool, gateway: Gateway, shared_nats: NatsServer
) -> None:
    headers = {"x-request-timeout": "100ms", **({"idempotency-key": "a"} if has_key else {})}
    async with RawPeer.connect(shared_nats.url, "nobody.>"):
        response = await gateway.client.post("/nobody/7", headers=headers)
    assert read_problem(response) == (504, "timeout", "unknown", has_key)
    assert response.json()["detail"] == "The stream did not acknowledge the message within 100ms."


async def test_callers_can_write_none_of_the_headers_that_the_stream_reads(
    gateway: Gateway, stream: JetStreamContext
) -> None:
    sent = {"Nats-Msg-Id": "x", "Nats-Expected-Last-Sequence": "9", "Nats-Rollup": "all", "Nats-TTL": "1s"}
    assert (await gateway.client.post("/orders/7", headers=sent)).status_code == 201
    stored = await stream.get_msg("ORDERS", 1)
    assert stored.headers is not None
    assert set(stored.headers) == {"Nats-Expected-Stream", "x-request-id"}


async def test_an_account_without_jetstream_stores_nothing(tmp_path: Path) -> None:
    with run_nats(tmp_path, "accounts {A: {users: [{user: a, password: b}]}}") as server:
        async with run_gateway(server.url.replace("//", "//a:b@"), routes=ROUTES) as gateway:
            assert read_problem(await gateway.client.post("/orders/7")) == (502, "not-stored", "no", True)
