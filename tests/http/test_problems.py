"""Every row of the table of errors, produced for real; those of greet's own path stand in test_greet."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import httpx
import pytest
from nats.aio.msg import Msg
from starlette.exceptions import HTTPException

from app.errors import ERRORS
from app.formats.messages import MAX_REPLY_BLOCK
from app.observe.record import Observers, Record
from app.routing.bodies import BodyRules
from app.routing.routes import ReplyRules, Route
from tests.harness import Gateway, NatsServer, RawPeer, eventually, replying, responder, run_gateway, run_nats

ECHO = Route(
    name="echo",
    methods=("POST", "PUT"),
    path="/echo",
    subject="echo",
    payload="body",
    max_body=200_000,
    headers=("traceparent",),
)
GREET = Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}")


async def stay_silent(msg: Msg) -> None:
    pass


async def echo(msg: Msg) -> None:
    await msg.respond(msg.data)


@dataclass(frozen=True, slots=True)
class Expected:
    slug: str
    status: int
    delivered: str
    retryable: bool = False

    def check(self, response: httpx.Response) -> None:
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert problem["request_id"] == response.headers["x-request-id"]
        assert problem["detail"].strip()
        found = (problem["type"], response.status_code, problem["status"], problem["delivered"], problem["retryable"])
        assert found == (f"/problems/{self.slug}", self.status, self.status, self.delivered, self.retryable)
        if self.status == 503:
            assert response.headers["retry-after"] == "1"


async def test_method_not_allowed_lists_what_is(gateway: Gateway) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
        response = await gateway.client.request(method, "/greet/sue")
        Expected("method-not-allowed", 405, "no").check(response)
        assert response.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_body_that_does_not_arrive_in_time_is_a_request_timeout(shared_nats: NatsServer) -> None:
    head = (
        b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 200ms\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    )
    async with RawPeer.connect(shared_nats.url, ">") as peer, run_gateway(shared_nats.url, routes=[ECHO]) as gateway:
        answer = await gateway.send_raw(head + b"12345")
        assert answer.startswith(b"HTTP/1.1 408")
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (problem["type"], problem["delivered"]) == ("/problems/request-timeout", "no")
        with pytest.raises(TimeoutError):
            await peer.next(0.1)


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_a_body_over_the_route_s_limit_is_too_large(shared_nats: NatsServer, chunked: bool) -> None:
    async def chunks(size: int):  # type: ignore[no-untyped-def]
        for _ in range(0, size, 1000):
            yield b"x" * 1000

    async with run_gateway(shared_nats.url, routes=[ECHO]) as gateway, responder(shared_nats.url, "echo", echo):
        body = chunks(201_000) if chunked else b"x" * 200_001
        Expected("payload-too-large", 413, "no").check(await gateway.client.post("/echo", content=body))
        fits = await gateway.client.post("/echo", content=chunks(200_000) if chunked else b"x" * 200_000)
        assert fits.content == b"x" * 200_000


async def test_headers_count_towards_the_server_s_max_payload(own_nats: NatsServer) -> None:
    own_nats.reload("max_payload: 1000")
    async with run_gateway(own_nats.url, routes=[ECHO]) as gateway, responder(own_nats.url, "echo", echo):
        assert (await gateway.client.post("/echo", content=b"x" * 1000)).content == b"x" * 1000
        response = await gateway.client.post("/echo", content=b"x" * 1000, headers={"traceparent": "a"})
        Expected("payload-too-large", 413, "no").check(response)
        assert (await gateway.client.post("/echo", content=b"x" * 1000)).status_code == 200


async def test_a_max_payload_lowered_without_a_word_costs_one_reconnect_and_is_then_known(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url, routes=[ECHO]) as gateway, responder(own_nats.url, "echo", echo):
        own_nats.reload("max_payload: 1000")  # nats-server tells its clients nothing of it
        Expected("connection-lost", 502, "unknown").check(await gateway.client.post("/echo", content=b"x" * 2000))
        await gateway.wait_until_ready()
        Expected("payload-too-large", 413, "no").check(await gateway.client.post("/echo", content=b"x" * 2000))
        assert (await gateway.client.post("/echo", content=b"x" * 900)).status_code == 200


async def test_a_request_whose_time_is_over_before_it_is_sent_is_a_timeout_that_nobody_has_seen(
    shared_nats: NatsServer,
) -> None:
    """The request was complete: so it is no 408, with or without a body."""
    async with (
        RawPeer.connect(shared_nats.url, ">") as peer,
        run_gateway(shared_nats.url, routes=[GREET, ECHO]) as gateway,
    ):
        short = {"x-request-timeout": "0.000001ms"}
        Expected("timeout", 504, "no", retryable=True).check(await gateway.get("/greet/sue", **short))
        answer = await gateway.send_raw(
            b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 0.000001ms\r\nContent-Length: 2\r\n"
            b"Connection: close\r\n\r\nhi"
        )
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["delivered"] == "no"
        assert answer.startswith(b"HTTP/1.1 504 ")
        with pytest.raises(TimeoutError):
            await peer.next(0.2)


async def test_headers_of_a_reply_are_bounded(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[GREET]) as gateway,
        RawPeer.connect(shared_nats.url, "greet.*") as peer,
    ):
        for size, status in ((MAX_REPLY_BLOCK, 200), (MAX_REPLY_BLOCK + 1, 502)):
            asked = asyncio.create_task(gateway.get("/greet/sue"))
            message = await peer.next()
            start, end = b"NATS/1.0\r\nA: ", b"\r\n\r\n"
            peer.publish(message.reply, start + b"x" * (size - len(start) - len(end)) + end, b"hi")
            answer = await asked
            assert answer.status_code == status
        Expected("bad-reply", 502, "yes").check(answer)


async def test_headers_for_the_service_are_bounded(gateway: Gateway) -> None:
    response = await gateway.get("/greet/sue", tracestate="x" * 17_000)
    Expected("headers-too-large", 431, "no").check(response)


async def test_more_than_the_cap_in_flight_is_overloaded_at_once(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, max_in_flight=2) as gateway,
        RawPeer.connect(shared_nats.url, "greet.*") as peer,
    ):
        waiting = [asyncio.create_task(gateway.get("/greet/sue", x_request_timeout="20s")) for _ in range(2)]
        messages = [await peer.next() for _ in waiting]
        Expected("overloaded", 503, "no", retryable=True).check(await gateway.get("/greet/bob"))
        for message in messages:
            peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"hi")
        assert [response.status_code for response in await asyncio.gather(*waiting)] == [200, 200]
        Expected("timeout", 504, "unknown").check(await gateway.get("/greet/bob", x_request_timeout="1s"))


async def test_a_server_that_reads_nothing_makes_the_gateway_overloaded_not_large(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.nats.link.HEARTBEAT_INTERVAL", 30
    )  # so that the connection is not taken for lost meanwhile
    route = Route(name="echo", methods=("POST",), path="/echo", subject="echo", payload="body")
    async with run_gateway(own_nats.url, routes=[route]) as gateway, responder(own_nats.url, "echo", stay_silent):
        own_nats.freeze()
        body, headers = b"x" * 1_000_000, {"x-request-timeout": "4s"}
        posts = (gateway.client.post("/echo", content=body, headers=headers) for _ in range(30))
        responses = await asyncio.gather(*posts)
        slugs = [response.json()["type"] for response in responses]
        assert slugs.count("/problems/overloaded") >= 5
        assert set(slugs) == {"/problems/overloaded", "/problems/timeout"}


async def test_without_a_connection_it_is_not_connected_at_once(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url) as gateway:
        own_nats.stop()
        await eventually(lambda: gateway.link.reason)
        Expected("not-connected", 503, "no", retryable=True).check(await gateway.get("/greet/sue"))


async def test_a_subject_that_the_gateway_s_user_may_not_publish_is_permission_denied(own_nats: NatsServer) -> None:
    own_nats.reload('authorization {users: [{user: g, password: p, permissions: {publish: {deny: ["greet.Sue"]}}}]}')
    url = own_nats.url.replace("//", "//g:p@")
    async with responder(url, "greet.*", replying(b"hello")), run_gateway(url, health_details=True) as gateway:
        response = await gateway.get("/greet/Sue")
        Expected("permission-denied", 502, "no").check(response)
        assert response.elapsed.total_seconds() < 1
        assert (await gateway.get("/greet/sue")).status_code == 200
        assert "p@" not in (await gateway.get("/healthz")).text


async def test_a_lost_connection_fails_what_is_in_flight_with_delivered_unknown(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url) as gateway, RawPeer.connect(own_nats.url, "greet.*") as peer:
        waiting = asyncio.create_task(gateway.get("/greet/sue", x_request_timeout="8s"))
        await peer.next()
        own_nats.kill()
        response = await asyncio.wait_for(waiting, 1)
        Expected("connection-lost", 502, "unknown").check(response)
        assert gateway.link.in_flight == 0


SERVICE_ERRORS = [
    # code, text, rules, status, detail
    ("404", "no such order", ReplyRules(), 404, "no such order"),
    ("422", "bad \x07text\n" + "x" * 600, ReplyRules(), 422, "bad text" + "x" * 504),
    ("500", "ValueError('secret')", ReplyRules(), 500, "The service answered with an error."),
    ("500", "shown on purpose", ReplyRules(expose_errors=True), 500, "shown on purpose"),
    ("12", "own code", ReplyRules(errors={12: 409}), 409, "own code"),
    ("12", "own code", ReplyRules(), 502, "The service answered with an error."),
    ("rubbish", "what", ReplyRules(), 502, "The service answered with an error."),
    ("200", "not an error status", ReplyRules(), 502, "The service answered with an error."),
]


@pytest.mark.parametrize(("code", "text", "rules", "status", "detail"), SERVICE_ERRORS)
async def test_a_service_error_has_its_own_status_and_was_delivered(
    shared_nats: NatsServer, code: str, text: str, rules: ReplyRules, status: int, detail: str
) -> None:
    route = Route(name="order", methods=("GET",), path="/orders/{id}", subject="orders.{id}", reply=rules)
    block = b"NATS/1.0\r\nNats-Service-Error: %b\r\nNats-Service-Error-Code: %b\r\n\r\n"
    block = block % (text.replace("\n", "").replace("\x07", "").encode(), code.encode())
    async with (
        run_gateway(shared_nats.url, routes=[route]) as gateway,
        RawPeer.connect(shared_nats.url, "orders.*") as peer,
    ):
        waiting = asyncio.create_task(gateway.get("/orders/7"))
        peer.publish((await peer.next()).reply, block)
        response = await waiting
    Expected("service-error", status, "yes").check(response) if status != 503 else None
    assert response.json()["detail"] == detail


async def test_a_service_error_with_a_payload_sends_the_payload(shared_nats: NatsServer) -> None:
    headers = {"Nats-Service-Error": "x", "Nats-Service-Error-Code": "409", "Content-Type": "application/json"}
    async with (
        run_gateway(shared_nats.url, routes=[GREET]) as gateway,
        responder(shared_nats.url, "greet.*", replying(b'{"taken":true}', headers)),
    ):
        response = await gateway.get("/greet/sue")
    assert (response.status_code, response.json()) == (409, {"taken": True})


BAD_BLOCKS = {
    "no version": b"HTTP/1.0\r\nA: b\r\n\r\n",
    "no end": b"NATS/1.0\r\nA: b\r\n",
    "bad name": b"NATS/1.0\r\nA b: c\r\n\r\n",
    "no colon": b"NATS/1.0\r\nAb\r\n\r\n",
    "control character": b"NATS/1.0\r\nLocation: a\x00b\r\n\r\n",
    "bare line feed": b"NATS/1.0\r\nLocation: a\nSet-Cookie: b\r\n\r\n",
    "status": b"NATS/1.0 404 No Messages\r\n\r\n",
    "bad http status": b"NATS/1.0\r\nHttp-Status: 199\r\n\r\n",
    "worse http status": b"NATS/1.0\r\nHttp-Status: 2\xc2\xb20\r\n\r\n",
}


@pytest.mark.parametrize("block", BAD_BLOCKS.values(), ids=BAD_BLOCKS)
async def test_a_reply_that_breaks_the_protocol_is_a_bad_reply_and_was_delivered(
    gateway: Gateway, shared_nats: NatsServer, block: bytes
) -> None:
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        for payload in (b"", b"text"):
            waiting = asyncio.create_task(gateway.get("/greet/sue"))
            peer.publish((await peer.next()).reply, block, payload)
            Expected("bad-reply", 502, "yes").check(await waiting)
        waiting = asyncio.create_task(gateway.get("/greet/sue"))
        peer.write(b"PUB %b 2\r\nok\r\n" % (await peer.next()).reply)
        assert (await waiting).status_code == 200


async def test_a_service_s_own_status_header_is_not_no_responders(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", replying(b"", {"Status": "503"})):
        assert (await gateway.get("/greet/sue")).json() == {"message": ""}


def break_reading(route: Route) -> None:
    object.__setattr__(route, "reader", None)


def break_body(route: Route) -> None:
    rules = BodyRules((), SimpleNamespace(cost=1), keeps_encoding=False)  # type: ignore[arg-type]
    object.__setattr__(route, "body_rules", rules)


def break_reply(route: Route) -> None:
    object.__setattr__(route, "reply_allow", None)


@pytest.mark.parametrize(
    ("break_route", "recorded"), [(break_reading, None), (break_body, "broken"), (break_reply, "broken")]
)
async def test_a_bug_of_ours_is_internal_with_a_request_id_and_no_traceback(
    shared_nats: NatsServer,
    capfd: pytest.CaptureFixture[str],
    break_route: Callable[[Route], None],
    recorded: str | None,
) -> None:
    """What no route file can do."""
    records: list[Record] = []
    broken = Route(name="broken", methods=("POST",), path="/broken", subject="broken")
    async with (
        run_gateway(shared_nats.url, routes=[broken], observers=Observers(failure=(records.append,))) as gateway,
        responder(shared_nats.url, "broken", replying(b"fine", {"a": "b"})),
    ):
        break_route(broken)
        response = await gateway.client.post("/broken", content=b"{}", headers={"x-request-id": "find-me"})
        Expected("internal", 500, "unknown").check(response)
        assert not any(word in response.text for word in ("Error:", "reader", "reply_allow", "find_faults"))
        assert gateway.link.in_flight == 0
    out, err = capfd.readouterr()
    assert "find-me" in out + err
    assert [(record.route, record.status) for record in records] == [(recorded, 500)]
    assert "Traceback" in out + err


async def test_after_its_end_the_gateway_is_draining(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:
        app = gateway.app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        response = await client.get("/greet/sue")
        Expected("draining", 503, "no", retryable=True).check(response)
        assert response.headers["connection"] == "close"
        assert (await client.get("/readyz")).json()["reason"] == "shutting down"


async def test_the_framework_s_own_errors_are_problems_too(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/typed")
        async def typed(number: int) -> int:
            return 1 // number

        @gateway.app.get("/raised/{status}")
        async def raised(status: int) -> None:
            raise HTTPException(status)

        Expected("not-found", 404, "no").check(await gateway.get("/nothing"))
        Expected("not-found", 404, "no").check(await gateway.get("/docs/assets/nothing"))
        Expected("not-found", 404, "no").check(await gateway.get("/problems/nothing"))
        Expected("invalid-parameter", 422, "no").check(await gateway.get("/typed?number=x"))
        Expected("payload-too-large", 413, "no").check(await gateway.get("/raised/413"))
        Expected("bad-request", 400, "no").check(await gateway.get("/raised/400"))
        Expected("internal", 500, "unknown").check(await gateway.get("/typed?number=0"))
        for path in ("/docs", "/livez", "/openapi.json", "/problems"):
            response = await gateway.client.delete(path)
            Expected("method-not-allowed", 405, "no").check(response)
            assert "GET" in response.headers["allow"]
            assert (await gateway.client.head(path)).status_code == 200


@pytest.mark.parametrize("path", ["", "livez", "docs", "openapi.json", "problems", "problems/timeout", "docs/assets/x"])
@pytest.mark.parametrize("end", ["%0a", "%0A", "%0d%0a", "%0a%0a"])
async def test_a_page_whose_path_ends_in_a_newline_is_not_found(gateway: Gateway, path: str, end: str) -> None:
    answer = await gateway.get_raw(f"/{path}{end}".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b'"type":"/problems/not-found"' in answer


async def test_every_problem_has_a_page_for_people_and_for_programs(gateway: Gateway) -> None:
    listed = (await gateway.get("/problems")).json()
    assert {problem["type"] for problem in listed} == {f"/problems/{error.slug}" for error in ERRORS}
    for problem in listed:
        page = await gateway.get(problem["type"], accept="text/html,*/*;q=0.8")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert problem["title"] in page.text
        assert (await gateway.get(problem["type"])).json() == problem
    index = await gateway.get("/problems", accept="text/html")
    assert all(problem["type"] in index.text for problem in listed)


async def test_two_nats_servers_are_tried_in_turn(
    shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with run_nats(tmp_path_factory.mktemp("other")) as other:
        dead = other.url
    async with run_gateway(shared_nats.url, nats_url=(dead, shared_nats.url)) as gateway:
        assert (await gateway.get("/readyz")).json() == {"status": "ready"}


BROKEN_BEHIND = {
    "garbage": (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\n\x00\x01garbage\r\n\r\n", [b"200", b"400"]),
    "the beginning of a head that is none": (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\nGET /\x00", [b"200", b"400"]),
    "the beginning of a head": (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\nGET /greet/joe HT", [b"200", b"408"]),
    "broken chunk": (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", [b"200"]),
}


@pytest.mark.parametrize("later", [False, True], ids=["together", "later"])
@pytest.mark.parametrize(("data", "statuses"), BROKEN_BEHIND.values(), ids=BROKEN_BEHIND)
async def test_what_is_broken_behind_a_request_in_flight_neither_cuts_its_answer_nor_is_taken_for_it(
    gateway: Gateway,
    shared_nats: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    statuses: list[bytes],
    later: bool,
) -> None:
    """`bad-request` says that nothing was delivered, which would be a lie of the request that runs."""
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 0.3)
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        request, _, rest = data.partition(b"\r\n\r\n")
        writer.write(request + b"\r\n\r\n" + (b"" if later else rest))
        message = await peer.next()
        writer.write(rest if later else b"")
        await asyncio.sleep(0.05)
        peer.write(b"PUB %b 2\r\nhi\r\n" % message.reply)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == statuses
    assert answer.count(b'{"message":"hi"}') == 1
    await eventually(lambda: gateway.link.in_flight == 0)


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"foo"])
@pytest.mark.parametrize("gap", [0.0, 0.05], ids=["together", "later"])
async def test_the_body_of_a_request_that_offers_an_upgrade_is_its_body_and_no_other_request(
    own_nats: NatsServer, upgrade: bytes, gap: float
) -> None:
    smuggled = b"GET /greet/smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
    head = head % upgrade + b"HTTP2-Settings: AAMAAABk\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    follower = b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    seen: list[tuple[str, bytes]] = []

    async def record(msg: Msg) -> None:
        if msg.reply:  # else it is a heartbeat, or an answer of ours
            seen.append((msg.subject, msg.data))
            await msg.respond(msg.data)

    async with run_gateway(own_nats.url, routes=[ECHO, GREET]) as gateway, responder(own_nats.url, ">", record):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head)
        await asyncio.sleep(gap)
        writer.write(smuggled)
        await asyncio.sleep(gap)
        writer.write(follower)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert seen == [("echo", smuggled), ("echo", b"hi")]
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"\r\n\r\nhi")


async def test_an_upgrade_without_a_body_is_answered_as_a_plain_request(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    async with responder(shared_nats.url, "greet.*", replying(b"hi")):
        head = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        follower = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        answer = await gateway.send_raw(head + follower)
    assert answer.count(b'{"message":"hi"}') == 2


@pytest.mark.parametrize(
    ("head", "status", "slug"),
    [
        (b"GET /" + b"a" * 90_000, 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\n" + b"A: %b\r\n" % (b"x" * 1000) * 90, 431, "headers-too-large"),
    ],
    ids=["uri", "headers"],
)
async def test_a_request_head_is_bounded(gateway: Gateway, head: bytes, status: int, slug: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for start in range(0, len(head), 5000):
        writer.write(head[start : start + 5000])
        await asyncio.sleep(0.002)
    answer = await asyncio.wait_for(reader.read(), 5)  # also though more was sent than was read
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == f"/problems/{slug}"
