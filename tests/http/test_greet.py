"""The greet route, HTTP in and real NATS out."""

import asyncio
import json
import time

import pytest
from nats.aio.msg import Msg

from tests.harness import Gateway, NatsServer, RawPeer, replying, responder


async def greet(msg: Msg) -> None:
    await msg.respond(b"hello, " + msg.subject.split(".", 1)[1].encode())


async def test_get_becomes_one_request_with_an_empty_payload_and_its_id(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        answer = asyncio.create_task(gateway.get("/greet/sue"))
        message = await peer.next()
        peer.write(b"PUB %b 10\r\nhello, sue\r\n" % message.reply)
        response = await answer
    block = b"NATS/1.0\r\nx-request-id: %b\r\n\r\n" % response.headers["x-request-id"].encode()
    assert (message.subject, message.headers, message.payload) == ("greet.sue", block, b"")
    assert response.status_code == 200
    assert response.content == b'{"message":"hello, sue"}'
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain;q=0.9, application/json;q=0.5", "text/plain; charset=utf-8"),
        ("text/plain, */*", "text/plain; charset=utf-8"),
        ("text/*, */*;q=0.1", "text/plain; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/plain;q=0", "application/json"),
        ("text/plain;q=rubbish", "application/json"),
        ("", "application/json"),
    ],
)
async def test_accept_chooses_between_json_and_plain_text(
    gateway: Gateway, shared_nats: NatsServer, accept: str, content_type: str
) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        response = await gateway.get("/greet/sue", accept=accept)
    expected = "hello, sue" if content_type.startswith("text/plain") else '{"message":"hello, sue"}'
    assert (response.headers["content-type"], response.text) == (content_type, expected)


async def test_head_answers_as_get_without_the_body(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        get, head = await gateway.get("/greet/sue"), await gateway.client.head("/greet/sue")
    ignored = {"date", "x-request-id"}
    assert head.status_code == 200
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }


async def test_options_answers_204_with_allow_and_sends_nothing(gateway: Gateway) -> None:
    response = await gateway.client.options("/greet/sue")
    assert (response.status_code, response.headers["allow"], response.content) == (204, "GET, HEAD, OPTIONS", b"")
    assert "content-length" not in response.headers


async def test_a_request_body_is_ignored_and_the_connection_stays_usable(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        for _ in range(3):
            response = await gateway.client.request("GET", "/greet/sue", content=b"x" * 300_000)
            assert response.json() == {"message": "hello, sue"}


@pytest.mark.parametrize("name", ["José", "名前", "o'neil", "a-b_c", "😀", "Jose\u0301", "x" * 128, "a+b", "a&b=c;d,e"])
async def test_names_of_any_script_greet_properly(gateway: Gateway, shared_nats: NatsServer, name: str) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        response = await gateway.get(f"/greet/{name}")
    assert response.json() == {"message": f"hello, {name}"}


HOSTILE = {
    "a.b": 422,
    "%2E": 422,
    "a%2Fb": 422,
    "*": 422,
    "%2A": 422,
    ">": 422,
    "%3E": 422,
    "%00": 422,
    "%0d%0aPUB%20x%201": 422,
    "a%20b": 422,
    "a%09b": 422,
    "%7f": 422,
    "%C2%A0": 422,  # no-break space
    "%E2%80%A8": 422,  # line separator
    "x" * 129: 414,
    "x" * 5000: 414,
    "%41" * 5000: 414,
    "%F0%9F%98%80" * 129: 414,
    "%ff": 422,
    "%C3%28": 422,
    "%ED%A0%80": 422,  # a surrogate
    "%zz": 422,
    "100%": 422,
    "%C0%AE": 422,  # an overlong dot
    "": 422,
    ".": 422,
    "..": 422,
    "%2e%2e": 422,
    "%E2%80%8B": 422,  # zero-width space
    "a%E2%80%8Db": 422,  # zero-width joiner
    "%EF%BB%BF": 422,  # byte order mark
    "%E2%80%AEevil": 422,  # right-to-left override
    "%E2%81%A6x": 422,  # isolate
}


@pytest.mark.parametrize(("name", "status"), HOSTILE.items(), ids=[name[:20] for name in HOSTILE])
async def test_hostile_names_are_refused_nothing_is_published_and_the_next_request_works(
    gateway: Gateway, shared_nats: NatsServer, name: str, status: int
) -> None:
    async with RawPeer.connect(shared_nats.url, ">") as everything:
        answer = await gateway.get_raw(b"/greet/" + name.encode("latin-1"))
        follower = asyncio.create_task(gateway.get("/greet/next"))
        message = await everything.next()
        everything.write(b"PUB %b 2\r\nok\r\n" % message.reply)
        assert (await follower).json() == {"message": "ok"}
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert b"content-type: application/problem+json" in head
    assert problem["type"] == ("/problems/uri-too-long" if status == 414 else "/problems/invalid-parameter")
    assert problem["delivered"] == "no"
    assert "'name'" in problem["detail"]
    assert message.subject == "greet.next"  # the first thing that anybody saw


@pytest.mark.parametrize(
    "target", [b"/greet/a b", b"/greet/a\tb", b"/greet/\x00", b"/greet/\x01", b"/greet/\xff", "/greet/José".encode()]
)
async def test_a_target_that_breaks_http_is_a_bad_request(gateway: Gateway, target: bytes) -> None:
    answer = await gateway.get_raw(target)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/bad-request"


@pytest.mark.parametrize("path", ["/greet", "/greet/sue/", "//greet/sue", "/greet//sue", "/Greet/sue", "/greet/a/b"])
async def test_other_paths_are_not_found(gateway: Gateway, path: str) -> None:
    response = await gateway.client.get(gateway.url + path)
    assert response.status_code == 404
    assert response.json()["type"] == "/problems/not-found"


async def test_an_encoded_literal_segment_is_the_same_path(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        answer = await gateway.get_raw(b"/gr%65et/sue")
    assert answer.endswith(b'{"message":"hello, sue"}')


async def test_no_responders_is_503_in_milliseconds_and_not_delivered(gateway: Gateway) -> None:
    started = time.monotonic()
    response = await gateway.get("/greet/sue", x_request_timeout="10s")
    assert time.monotonic() - started < 1
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem == {
        "type": "/problems/no-responders",
        "title": "No responders",
        "status": 503,
        "detail": problem["detail"],
        "instance": "/greet/sue",
        "request_id": response.headers["x-request-id"],
        "delivered": "no",
        "retryable": True,
    }


async def test_timeout_becomes_504_and_delivered_unknown(gateway: Gateway, shared_nats: NatsServer) -> None:
    async def stay_silent(msg: Msg) -> None:
        pass

    async with responder(shared_nats.url, "greet.*", stay_silent):
        started = time.monotonic()
        response = await gateway.get("/greet/sue", x_request_timeout="200ms")
        took = time.monotonic() - started
    assert response.status_code == 504
    assert 0.19 < took < 1.5  # the default is 2 s
    assert response.json()["type"] == "/problems/timeout"
    assert response.json()["detail"] == "The service did not reply within 200ms."
    assert (response.json()["delivered"], response.json()["retryable"]) == ("unknown", False)
    assert gateway.link.in_flight == 0


@pytest.mark.parametrize(
    "value", ["", "5", "-1s", "0s", "1h", "s", "1 s", "1e3ms", "٣s", "99999999999s", "soon", "\xe9"]
)
async def test_a_nonsense_timeout_is_refused(gateway: Gateway, value: str) -> None:
    answer = await gateway.send_raw(
        b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX-Request-Timeout: %b\r\n\r\n" % value.encode()
    )
    assert answer.startswith(b"HTTP/1.1 422")
    assert "X-Request-Timeout" in json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]


async def test_any_client_that_answers_works_and_sees_its_caller_s_trace(
    gateway: Gateway, shared_nats: NatsServer
) -> None:
    seen: list[dict[str, str] | None] = []

    async def record(msg: Msg) -> None:
        seen.append(msg.headers)
        await msg.respond(b"hello, you")

    async with responder(shared_nats.url, "greet.>", record, queue="others"):
        response = await gateway.get(
            "/greet/sue",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            x_request_id="abc-1",
            cookie="secret=1",
            authorization="Bearer secret",
            x_other="no",
        )
    assert response.headers["x-request-id"] == "abc-1"
    assert seen == [{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-request-id": "abc-1"}]


async def test_an_unclean_request_id_is_replaced_everywhere(gateway: Gateway, shared_nats: NatsServer) -> None:
    seen: list[dict[str, str] | None] = []

    async def record(msg: Msg) -> None:
        seen.append(msg.headers)
        await msg.respond(b"hello, you")

    async with responder(shared_nats.url, "greet.*", record):
        response = await gateway.get("/greet/sue", x_request_id="not clean!")
        other = (await gateway.get("/greet/sue")).headers["x-request-id"]
    made = response.headers["x-request-id"]
    assert made not in ("not clean!", other)
    assert seen == [{"x-request-id": made}, {"x-request-id": other}]


async def test_a_reply_that_is_not_text_is_a_bad_reply(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", replying(b"\xff\xfe")):
        response = await gateway.get("/greet/sue")
    assert (response.status_code, response.json()["delivered"]) == (502, "yes")
    assert response.json()["type"] == "/problems/bad-reply"


async def test_a_reply_of_any_text_is_one_json_string(gateway: Gateway, shared_nats: NatsServer) -> None:
    text = 'quote " backslash \\ newline \n nul \0 </script> é 😀'
    async with responder(shared_nats.url, "greet.*", replying(text.encode())):
        assert (await gateway.get("/greet/sue")).json() == {"message": text}


async def test_many_requests_at_once_get_each_its_own_answer(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        responses = await asyncio.gather(
            *(gateway.get(f"/greet/n{number}", x_request_timeout="20s") for number in range(100))
        )
    assert [r.json()["message"] for r in responses] == [f"hello, n{number}" for number in range(100)]
    assert gateway.link.in_flight == 0
