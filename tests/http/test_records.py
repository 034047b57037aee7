"""One record for each response that the wire saw, and for each caller who left before: whoever made the response."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.msg import Msg
from starlette.requests import Request as PageRequest
from starlette.responses import PlainTextResponse, StreamingResponse

from app.edge.policy import AsyncCheck
from app.edge.request import Request
from app.errors import GatewayError
from app.http.lane import LaneName
from app.observe.record import Observers, Record
from app.routing.routes import Route
from tests.harness import Gateway, NatsServer, eventually, replying, responder, run_gateway


class Broken:
    """A policy with a bug."""

    fields: frozenset[bytes] = frozenset()
    errors: tuple[type[GatewayError], ...] = ()

    def check(self, request: Request) -> AsyncCheck | None:
        raise RuntimeError(f"a bug with {request.method}")


ROUTES = [
    Route(name="read", methods=("GET",), path="/read/{id}", subject="rec.read.{id}"),
    Route(name="write", methods=("POST",), path="/write", subject="rec.write", max_body=1000),
    Route(name="nobody", methods=("GET",), path="/nobody", subject="rec.nobody"),
    Route(name="slow", methods=("GET",), path="/slow", subject="rec.slow", timeout=20.0, max_in_flight=2000),
    Route(name="late", methods=("GET",), path="/late", subject="rec.slow", timeout=0.05),
    Route(name="odd", methods=("GET",), path="/odd", subject="rec.odd"),
    Route(name="broken", methods=("GET",), path="/broken", subject="rec.broken", policies=(Broken(),)),
]


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: t", *fields, "")).encode()


def post(body: bytes, *fields: str) -> bytes:
    return get("/write", f"Content-Length: {len(body)}", *fields, method="POST") + body


LIVING = (
    get("/read/1"),
    get("/read/1", method="HEAD"),
    get("/read/a.b"),
    get("/read/1", method="DELETE"),
    get("/read/1", method="OPTIONS"),
    get("/nobody"),
    get("/late"),
    get("/odd"),
    get("/broken"),
    get("/nowhere"),
    get("/livez"),
    get("/livez", method="HEAD"),
    get("/docs/"),
    get("/problems"),
    get("/problems/no"),
    get("/plain"),
    get("/stream"),
    get("/livez%0a"),
    post(b"hello"),
    post(b"hello", "Expect: 100-continue"),
    get("/write", "Transfer-Encoding: chunked", method="POST") + b"2\r\nhi\r\n0\r\n\r\n",
    get("/read/1", "Upgrade: websocket", "Connection: upgrade"),
    get("/read/1", "X-Request-Timeout: soon"),
)
"""Requests after which the connection may live on."""
LAST = (
    b"no HTTP\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /read/1 HTTP/3.0\r\nHost: t\r\n\r\n",
    get("/read/1", "X: " + "x" * 70_000),
    get("/read/" + "1" * 70_000),
    get("/write", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n",
    post(b"x" * 1001, "Connection: close"),
    get("/crash", "Connection: close"),
    get("/read/1", "Connection: close"),
    get("/livez", "Connection: close"),
    b"GET /read/1 HTTP/1.0\r\n\r\n",
)
"""Requests that end the connection."""


async def serve(msg: Msg) -> None:
    if msg.subject == "rec.odd":
        await msg._client.publish(msg.reply, b"x", headers={"Http-Status": "99"})
    elif msg.subject != "rec.slow":
        await msg.respond(b"hello")


@asynccontextmanager
async def run(nats: NatsServer, records: list[Record] | None, **settings: Any) -> AsyncIterator[Gateway]:
    """Without `records` they go to the log."""
    observers = None if records is None else Observers(failure=(records.append,), other=(records.append,))
    async with (
        responder(nats.url, "rec.read.*", serve),
        responder(nats.url, "rec.write", serve),
        responder(nats.url, "rec.odd", serve),
        responder(nats.url, "rec.slow", serve),
        run_gateway(nats.url, routes=ROUTES, observers=observers, **settings) as gateway,
    ):
        gateway.app.add_route("/plain", lambda _: PlainTextResponse("plain"))
        gateway.app.add_route("/stream", stream)
        gateway.app.add_route("/crash", crash)
        gateway.app.add_route("/hang", hang)
        yield gateway


def stream(_: PageRequest) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"bc"):
            yield piece
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


def crash(_: PageRequest) -> PlainTextResponse:
    raise RuntimeError("a bug of a page")


async def hang(_: PageRequest) -> PlainTextResponse:
    await asyncio.sleep(3)
    return PlainTextResponse("at last")


def find_statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", answer)]


async def converse(gateway: Gateway, requests: Sequence[bytes], *, pipelined: bool) -> list[int]:
    """The statuses of all answers on one connection, which the gateway closes at last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        if pipelined:
            writer.write(b"".join(requests))
        else:
            for request in requests:
                writer.write(request)
                await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            return find_statuses(await reader.read())
    finally:
        writer.close()


async def test_a_thousand_requests_of_every_kind_are_as_many_records_as_the_wire_saw(
    shared_nats: NatsServer, lane: LaneName
) -> None:
    records: list[Record] = []
    chance = random.Random(7)  # noqa: S311 - which requests are sent
    async with run(shared_nats, records) as gateway:
        seen: Counter[int] = Counter()
        count = 0
        while count < 1000:
            talks = []
            for _ in range(20):
                requests = [*chance.choices(LIVING, k=chance.randrange(6)), chance.choice(LAST)]
                count += len(requests)
                talks.append(converse(gateway, requests, pipelined=chance.random() < 0.5))
            for statuses in await asyncio.gather(*talks):
                seen.update(status for status in statuses if status != 100)
        await eventually(lambda: len(records) >= seen.total())
        assert Counter(record.status for record in records) == seen
        assert seen.keys() >= {200, 204, 307, 400, 404, 405, 408, 413, 422, 431, 500, 502, 503, 504, 505} - {408}
        assert all(record.is_written for record in records)
        assert {record.lane for record in records if record.route == "nobody"} == {lane}
        assert {record.peer for record in records} == {"127.0.0.1"}


async def test_a_caller_who_leaves_before_the_answer_is_a_record_too(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.server.CHECK_TICKS", 1)  # those who have gone are found soon
    records: list[Record] = []
    async with run(shared_nats, records) as gateway:
        incomplete = get("/write", "Content-Length: 10", method="POST") + b"x"
        for request in (get("/slow"), incomplete, get("/hang")):
            for _ in range(5):
                _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(request)
                await asyncio.sleep(0.02)
                writer.transport.abort()
        await eventually(lambda: len(records) == 15)
        found = Counter((record.route, record.status, record.slug, record.delivered) for record in records)
        assert found == {
            ("slow", 499, "caller-gone", "unknown"): 5,
            ("write", 499, "caller-gone", "no"): 5,
            (None, 499, "caller-gone", "no"): 5,
        }
        assert not any(record.is_written or record.bytes_out for record in records)
        await eventually(lambda: gateway.link.in_flight == 0)
        await asyncio.sleep(0.1)
        assert len(records) == 15


async def test_a_response_that_waits_for_its_caller_until_that_leaves_is_a_record_of_what_was_not_written(
    shared_nats: NatsServer,
) -> None:
    records: list[Record] = []
    large = Route(name="large", methods=("GET",), path="/large", subject="rec.large")

    async def answer(msg: Msg) -> None:
        await msg.respond(b"x" * 900_000)

    observers = Observers(failure=(records.append,), other=(records.append,))
    async with (
        responder(shared_nats.url, "rec.large", answer),
        run_gateway(shared_nats.url, routes=[large], observers=observers) as gateway,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
        for _ in range(20):
            writer.write(get("/large"))
        await eventually(lambda: gateway.bounds.unread._pot.used > 0)
        await asyncio.sleep(0.2)
        writer.transport.abort()
        await eventually(lambda: not gateway.server.server_state.connections)
        await eventually(lambda: any(not record.is_written for record in records))
        assert {record.status for record in records} <= {200, 499}
        assert all(record.bytes_out == 900_000 for record in records if record.is_written)


async def test_refused_connections_and_requests_that_come_too_slowly_are_records(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 0.2)
    monkeypatch.setattr("app.http.server.CHECK_TICKS", 1)
    records: list[Record] = []
    async with run(shared_nats, records, max_connections=2) as gateway:
        busy = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2)]
        for _, writer in busy:
            writer.write(get("/slow"))
        await eventually(lambda: gateway.link.in_flight == 2)
        assert find_statuses(await gateway.send_raw(b"")) == [503]
        assert [(record.status, record.slug, record.method, record.lane) for record in records][:1] == [
            (503, "overloaded", None, records[0].lane)
        ]
        for _, writer in busy:
            writer.transport.abort()
        await eventually(lambda: len(records) == 3)
        assert find_statuses(await gateway.send_raw(b"GET /re")) == [408]
        await eventually(lambda: len(records) == 4)
        assert Counter(record.status for record in records) == {503: 1, 499: 2, 408: 1}


async def test_a_body_that_never_comes_is_one_record_with_its_route(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    async with run(shared_nats, records, timeout=0.2, max_timeout=0.2) as gateway:
        head = get("/write", "Content-Length: 10", "X-Request-Id: mine", method="POST")
        assert find_statuses(await gateway.send_raw(head + b"12")) == [408]
        await eventually(lambda: len(records) == 1)
        await asyncio.sleep(0.1)
        (record,) = records
        assert (record.route, record.status, record.delivered) == ("write", 408, "no")
        assert (record.method, record.version, record.request_id) == ("POST", "1.1", "mine")


async def test_a_body_that_breaks_off_wrongly_is_one_record_with_its_route(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    async with run(shared_nats, records) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(get("/write", "Transfer-Encoding: chunked", method="POST") + b"2\r\nhi\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"zz\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        await eventually(lambda: len(records) == 1)
        assert [(record.route, record.status, record.method) for record in records] == [("write", 400, "POST")]
        writer.close()


async def test_a_record_knows_the_request_and_its_times(shared_nats: NatsServer, lane: LaneName) -> None:
    records: list[Record] = []
    async with run(shared_nats, records) as gateway:
        response = await gateway.client.post("/write", content=b"hello!", headers={"x-request-id": "r-1"})
        await eventually(lambda: len(records) == 1)
        (record,) = records
        assert (record.route, record.method, record.status, record.slug) == ("write", "POST", 200, None)
        assert (record.bytes_in, record.bytes_out) == (6, len(response.content))
        assert (record.delivered, record.request_id, record.lane) == ("yes", "r-1", lane)
        assert record.reply_time is not None
        assert 0 < record.reply_time <= record.duration < 20


async def test_the_log_hears_what_callers_may_not_see(shared_nats: NatsServer, lane: LaneName) -> None:
    records: list[Record] = []
    errors = (
        ("500", "KeyError('secret')", b""),
        ("E_CUSTOMS", "x" * 600, b""),
        ("409", "it is taken", b'{"taken":true}'),
    )
    async with run(shared_nats, records) as gateway:
        for code, text, payload in errors:
            headers = {"Nats-Service-Error-Code": code, "Nats-Service-Error": text}
            async with responder(shared_nats.url, "rec.nobody", replying(payload, headers)):
                assert text not in (await gateway.get("/nobody")).text
        await gateway.get("/nobody")
        await eventually(lambda: len(records) == 4)
        assert [dict(record.facts) for record in records] == [
            {"service_error_code": "500", "service_error": "KeyError('secret')"},
            {"service_error_code": "E_CUSTOMS", "service_error": "x" * 512},
            {"service_error_code": "409", "service_error": "it is taken"},
            {"subject": "rec.nobody"},
        ]


async def test_a_page_is_a_record_with_the_id_that_its_caller_got(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    async with run(shared_nats, records) as gateway:
        responses = [await gateway.get(path) for path in ("/livez", "/nowhere", "/stream")]
        await eventually(lambda: len(records) == 3)
        assert [record.request_id for record in records] == [r.headers["x-request-id"] for r in responses]
        assert [record.slug for record in records] == [None, "not-found", None]
        assert [record.bytes_out for record in records] == [len(r.content) for r in responses]
        assert (await gateway.get("/livez", x_request_id="mine")).headers["x-request-id"] == "mine"


async def test_an_observer_with_a_bug_harms_nobody(shared_nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    records: list[Record] = []

    def crash(record: Record) -> None:
        raise RuntimeError(f"a bug with {record.status}")

    observers = Observers(failure=(crash, records.append), other=(crash, records.append))
    async with (
        responder(shared_nats.url, "rec.read.*", serve),
        run_gateway(shared_nats.url, routes=ROUTES, observers=observers) as gateway,
    ):
        requests = [get("/read/1"), get("/nowhere"), get("/read/1"), get("/read/1", "Connection: close")]
        assert await converse(gateway, requests, pipelined=True) == [200, 404, 200, 200]
        await eventually(lambda: len(records) == 4)
    assert "record-not-taken" in capsys.readouterr().out
