"""Routes with many replies to one request, over responders that are slow, dead, lie and flood."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.routing.kinds import Gather
from app.routing.routes import ReplyRules, Route
from tests.harness import Gateway, NatsServer, RawPeer, eventually, run_gateway

LONG = Gather(stall=10.0)
PLAIN = b"NATS/1.0\r\n\r\n"
Send = Callable[..., None]


def make_route(name: str, kind: Gather, **more: Any) -> Route:
    return Route(name=name, methods=("GET",), path=f"/{name}/{{id}}", subject=f"{name}.{{id}}", kind=kind, **more)


ROUTES = (
    make_route("many", Gather(most=50, stall=0.2)),
    make_route("flood", Gather(most=50, stall=10.0)),
    make_route("long", LONG),
    make_route("few", Gather(most=3, stall=10.0)),
    make_route("small", Gather(stall=10.0, max_bytes=1000)),
    make_route("whole", Gather(stall=0.2, ends_empty=False)),
    make_route("strict", Gather(stall=0.2, errors="fail")),
    make_route("json", Gather(stall=0.2), reply=ReplyRules(content_type="application/json")),
    make_route("text", Gather(stall=0.2), reply=ReplyRules(content_type="text/plain")),
    make_route("open", Gather(stall=0.2), reply=ReplyRules(expose_errors=True, errors={7: 409})),
    make_route(
        "checked",
        LONG,
        reply=ReplyRules(content_type="application/json", schema={"type": "object"}, validate=True),
    ),
    Route(name="post", methods=("POST",), path="/post", subject="post", kind=Gather(stall=0.2)),
    Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}"),
)


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        yield gateway
        await eventually(lambda: gateway.link.in_flight == 0)


@contextlib.asynccontextmanager
async def service(nats: NatsServer, subject: str, serve: Callable[[Send], Awaitable[None]]) -> AsyncIterator[None]:
    """Calls `serve` for each request, with a function that sends a reply: payload, and headers as a block."""
    async with RawPeer.connect(nats.url, subject) as peer:

        async def run() -> None:
            while True:
                message = await peer.next()

                def send(payload: bytes = b"", block: bytes = PLAIN, reply: bytes = message.reply) -> None:
                    peer.publish(reply, block, payload)

                await serve(send)

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            task.cancel()


def error(code: bytes, text: bytes) -> bytes:
    return b"NATS/1.0\r\nNats-Service-Error-Code: %b\r\nNats-Service-Error: %b\r\n\r\n" % (code, text)


def ended(response: httpx.Response) -> tuple[int, Any, str]:
    return response.status_code, response.json(), response.headers["x-replies-ended"]


async def test_all_replies_are_elements_in_their_order(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        for payload in (b'{"a": 1.10}', b"text", b"[1,\n2]", b"7", b'"x"', "é".encode()):
            send(payload)
        send()

    async with service(shared_nats, "long.*", serve):
        response = await gateway.get("/long/1")
    assert ended(response) == (200, [{"a": 1.1}, "text", [1, 2], 7, "x", "é"], "end")
    assert response.content.startswith(b'[{"a": 1.10},')
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("path", "count", "reason"),
    [("/few/1", 9, "max"), ("/many/1", 2, "stall"), ("/small/1", 100, "max"), ("/whole/1", 2, "stall")],
)
async def test_what_ended_the_replies_is_told(
    path: str, count: int, reason: str, gateway: Gateway, shared_nats: NatsServer
) -> None:
    async def serve(send: Send) -> None:
        for number in range(count):
            send(b'{"number":%d,"padding":"%b"}' % (number, b"x" * 80))

    async with service(shared_nats, f"{path[1:-2]}.*", serve):
        response = await gateway.get(path)
    assert response.headers["x-replies-ended"] == reason
    numbers = [element["number"] for element in response.json()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) == {"/few/1": 3, "/small/1": 8}.get(path, count)


async def test_the_deadline_ends_the_replies(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")

    async with service(shared_nats, "long.*", serve):
        started = time.monotonic()
        response = await gateway.get("/long/1", x_request_timeout="200ms")
    assert ended(response) == (200, [1], "within")
    assert time.monotonic() - started < 5


async def test_nobody_answers(gateway: Gateway, shared_nats: NatsServer) -> None:
    response = await gateway.get("/many/1")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/no-responders")
    async with RawPeer.connect(shared_nats.url, "many.*"):
        response = await gateway.get("/many/1", x_request_timeout="100ms")
    assert (response.status_code, response.json()["type"]) == (504, "/problems/timeout")


async def test_no_reply_but_the_end_is_an_empty_array(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send()

    async with service(shared_nats, "long.*", serve), service(shared_nats, "whole.*", serve):
        assert ended(await gateway.get("/long/1")) == (200, [], "end")
        assert ended(await gateway.get("/whole/1")) == (200, [""], "stall")


async def test_errors_of_services_are_elements_with_their_code(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")
        send(b"", error(b"404", b"no such order"))
        send(b"", error(b"500", b"a secret"))
        send(b'{"more":1}', error(b"7", b"conflict"))
        send(b"", b"NATS/1.0\r\nNats-Service-Error: E_X\r\n\r\n")
        send(b"gone", b"NATS/1.0\r\nHttp-Status: 410\r\n\r\n")
        send(b"2")

    hidden = "The service answered with an error."
    expected = [
        1,
        {"error": {"code": 404, "detail": "no such order"}},
        {"error": {"code": 500, "detail": hidden}},
        {"error": {"code": 7, "detail": "conflict", "data": {"more": 1}}},
        {"error": {"code": 502, "detail": hidden}},
        {"error": {"code": 410, "data": "gone"}},
        2,
    ]
    async with service(shared_nats, "whole.*", serve), service(shared_nats, "open.*", serve):
        assert (await gateway.get("/whole/1")).json() == expected
        shown = (await gateway.get("/open/1")).json()
    assert shown[2] == {"error": {"code": 500, "detail": "a secret"}}
    assert [element for element in shown if isinstance(element, int)] == [1, 2]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_with_fail_the_first_error_is_the_answer(accept: str, gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"{}", error(b"404", b"gone"))
        send(b"1")

    async with service(shared_nats, "strict.*", serve):
        response = await gateway.get("/strict/1", accept=accept)
    assert (response.status_code, response.json()["type"]) == (404, "/problems/service-error")
    assert (response.json()["detail"], response.json()["delivered"]) == ("gone", "yes")


async def test_with_fail_a_stream_that_has_begun_ends_with_the_error(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")
        await asyncio.sleep(0.05)
        send(b"", error(b"404", b"gone"))

    async with service(shared_nats, "strict.*", serve):
        response = await gateway.get("/strict/1", accept="application/x-ndjson")
    last = {"X-Replies-Ended": "error", "error": {"code": "service-error", "detail": "gone"}}
    assert [json.loads(line) for line in response.text.splitlines()] == [1, last]


async def test_replies_that_lie_are_elements_that_say_so(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")
        send(b"{not json")
        send(b"NaN")
        send(b"\xff")
        send(b"x", b"NATS/1.0 404 no\r\n\r\n")
        send(b"x", b"NATS/1.0\r\nbad header\r\n\r\n")
        send(b"x", b"NATS/1.0\r\nHttp-Status: 99\r\n\r\n")
        send(b"", b"NATS/1.0 503\r\n\r\n")
        send(b"2")

    async with service(shared_nats, "json.*", serve):
        status, elements, reason = ended(await gateway.get("/json/1"))
    assert (status, reason) == (200, "stall")
    assert [element for element in elements if isinstance(element, int)] == [1, 2]
    assert [element["error"]["code"] for element in elements if isinstance(element, dict)] == ["bad-reply"] * 6


async def test_a_declared_text_is_a_string(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"7")
        send(b'a\nb\x00"')
        send(b"\xff")

    async with service(shared_nats, "text.*", serve):
        elements = (await gateway.get("/text/1")).json()
    assert elements[:2] == ["7", 'a\nb\0"']
    assert elements[2]["error"]["code"] == "bad-reply"


async def test_each_reply_is_checked_by_its_schema(gateway: Gateway, shared_nats: NatsServer) -> None:
    long = b'{"a":"%b"}' % (b"x" * 20_000)

    async def serve(send: Send) -> None:
        for payload in (b"{}", b"[]", long, b'["%b"]' % (b"x" * 20_000), b"{", b""):
            send(payload)

    async with service(shared_nats, "checked.*", serve):
        elements = (await gateway.get("/checked/1")).json()
    bad = {"error": {"code": "bad-reply", "detail": "The service's reply is not what its route declares."}}
    assert elements == [{}, bad, json.loads(long), bad, bad]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/event-stream", "text/event-stream"),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
    ],
)
async def test_the_caller_chooses_the_form(
    accept: str, content_type: str, gateway: Gateway, shared_nats: NatsServer
) -> None:
    async def serve(send: Send) -> None:
        send(b'{"a":\r\n1}')
        send(b"two\nlines")
        send()

    async with service(shared_nats, "long.*", serve):
        response = await gateway.get("/long/1", accept=accept)
    assert (response.status_code, response.headers["content-type"]) == (200, content_type)
    if content_type == "application/json":
        assert ended(response) == (200, [{"a": 1}, "two\nlines"], "end")
    elif content_type == "application/x-ndjson":
        assert [json.loads(line) for line in response.text.splitlines()] == [
            {"a": 1},
            "two\nlines",
            {"X-Replies-Ended": "end"},
        ]
    else:
        assert response.text == (
            'data: {"a":  1}\n\ndata: "two\\nlines"\n\nevent: end\ndata: {"X-Replies-Ended":"end"}\n\n'
        )
        assert response.headers["x-accel-buffering"] == "no"


async def test_a_stream_has_each_reply_when_it_comes(gateway: Gateway, shared_nats: NatsServer) -> None:
    may_go_on = asyncio.Event()

    async def serve(send: Send) -> None:
        send(b"1")
        await may_go_on.wait()
        send(b"2")
        send()

    stream = gateway.client.stream("GET", "/long/1", headers={"accept": "application/x-ndjson"})
    async with service(shared_nats, "long.*", serve), stream as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "1"
        may_go_on.set()
        assert [line async for line in lines] == ["2", '{"X-Replies-Ended":"end"}']


async def test_a_caller_who_leaves_ends_the_request(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")

    async with service(shared_nats, "long.*", serve):
        async with gateway.client.stream("GET", "/long/1", headers={"accept": "text/event-stream"}) as response:
            assert await anext(response.aiter_lines()) == "data: 1"
            assert gateway.link.in_flight == 1
        await eventually(lambda: gateway.link.in_flight == 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /long/1 HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 30s\r\n\r\n")
        await eventually(lambda: gateway.link.in_flight == 1)
        writer.close()
        await eventually(lambda: gateway.link.in_flight == 0)
        del reader


async def test_a_lost_connection_is_told(own_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")

    async with run_gateway(own_nats.url, routes=ROUTES) as gateway, service(own_nats, "long.*", serve):
        async with gateway.client.stream("GET", "/long/1", headers={"accept": "application/x-ndjson"}) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "1"
            asking = asyncio.create_task(gateway.get("/long/2", x_request_timeout="30s"))
            await eventually(lambda: gateway.link.in_flight == 2)
            await asyncio.sleep(0.1)  # its reply has come then, or the answer below is another one
            own_nats.kill()
            assert [line async for line in lines] == ['{"X-Replies-Ended":"disconnect"}']
        assert ended(await asking) == (200, [1], "disconnect")
        response = await gateway.get("/long/3")
        assert response.json()["type"] == "/problems/not-connected"


async def test_a_body_goes_to_all(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with RawPeer.connect(shared_nats.url, "post") as one, RawPeer.connect(shared_nats.url, "post") as other:
        asking = asyncio.create_task(gateway.client.post("/post", content=b"x" * 100_000))
        for number, peer in enumerate((one, other)):
            message = await peer.next()
            assert message.payload == b"x" * 100_000
            peer.publish(message.reply, PLAIN, b"%d" % number)
        status, elements, reason = ended(await asking)
    assert (status, sorted(elements), reason) == (200, [0, 1], "stall")


async def test_head_gets_the_head_of_an_array(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def serve(send: Send) -> None:
        send(b"1")
        send()

    async with service(shared_nats, "long.*", serve):
        response = await gateway.client.head("/long/1", headers={"accept": "text/event-stream"})
    assert (response.status_code, response.content) == (200, b"")
    assert (response.headers["content-length"], response.headers["x-replies-ended"]) == ("3", "end")


def answering(number: int) -> Callable[[Send], Awaitable[None]]:
    async def answer(send: Send) -> None:
        send(b'{"from":%d}' % number)

    return answer


async def slow(send: Send) -> None:
    await asyncio.sleep(0.1)
    send(b'{"from":45}')


async def dead(_: Send) -> None:
    await asyncio.Event().wait()


async def lie(send: Send) -> None:
    send(b"x", b"NATS/1.0 503 no\r\nStatus: 200\r\n\r\n")


async def flood(send: Send) -> None:
    for _ in range(20):
        send(b'"flood"')


async def test_fifty_responders_with_bad_ones_among_them(gateway: Gateway, shared_nats: NatsServer) -> None:
    """45 answer, one is slow, one is dead, one lies, one floods, and one answers after the end."""
    async with contextlib.AsyncExitStack() as stack:
        late: list[bytes] = []

        async def answer_late(send: Send) -> None:
            await asyncio.sleep(1)
            late.append(b"x")
            send(b'{"from":99}')

        for serve in (*map(answering, range(45)), slow, dead, lie, flood, answer_late):
            await stack.enter_async_context(service(shared_nats, "whole.*", serve))
        status, elements, reason = ended(await gateway.get("/whole/1"))
        assert (status, reason) == (200, "stall")
        found = sorted(element["from"] for element in elements if isinstance(element, dict) and "from" in element)
        assert found == list(range(46))
        assert elements.count("flood") == 20
        assert [e["error"]["code"] for e in elements if isinstance(e, dict) and "error" in e] == ["bad-reply"]
        await eventually(lambda: late)
        assert (await gateway.get("/whole/2")).status_code == 200


async def test_a_flood_ends_at_its_bound_and_delays_nobody(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def flood_all(send: Send) -> None:
        for _ in range(5000):
            send(b'{"flood":"%b"}' % (b"x" * 100))

    async def greet(send: Send) -> None:
        send(b"hello")

    async with service(shared_nats, "flood.*", flood_all), service(shared_nats, "greet.*", greet):
        answers = await asyncio.gather(*(gateway.get(f"/flood/{n}") for n in range(5)), gateway.get("/greet/sue"))
    assert [len(answer.json()) for answer in answers[:-1]] == [50] * 5
    assert {answer.headers["x-replies-ended"] for answer in answers[:-1]} == {"max"}
    assert answers[-1].status_code == 200


async def test_without_memory_for_replies_a_request_ends_early(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.gatherer.MAX_KEPT", 1 + len(PLAIN))

    async def serve(send: Send) -> None:
        for _ in range(3):
            send(b"1")

    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway, service(shared_nats, "long.*", serve):
        for _ in range(3):
            assert ended(await gateway.get("/long/1")) == (200, [1], "max")
