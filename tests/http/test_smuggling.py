"""Requests that two parsers could read differently: whatever a proxy in front made of them, the gateway never takes a
part of one request for another."""

import asyncio
import contextlib
import re

import pytest
from nats.aio.msg import Msg

from app.routing.routes import Route
from tests.harness import NatsServer, responder, run_gateway

ROUTES = (
    Route(name="echo", methods=("POST",), path="/echo", subject="smuggle.echo", payload="body"),
    Route(name="greet", methods=("GET",), path="/greet/{name}", subject="smuggle.greet.{name}"),
)
INNER = b"GET /greet/smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
AFTER = b"GET /greet/after HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /echo %b\r\nHost: t\r\n%b\r\n%b" % (version, b"".join(field + b"\r\n" for field in fields), body)


CHUNKED_INNER = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)

# RFC 9112 §6.3: both framings, lengths that differ, and framings that are not known are refused.
REFUSED = {
    "both framings": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER),
    "both framings, the other way round": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + INNER
    ),
    "two lengths that differ": post(b"Content-Length: 0", b"Content-Length: %d" % len(INNER), body=INNER),
    "two lengths that are alike": post(b"Content-Length: 0", b"Content-Length: 0", body=INNER),
    "two lengths in one": post(b"Content-Length: 0, %d" % len(INNER), body=INNER),
    "a length with a sign": post(b"Content-Length: +0", body=INNER),
    "a negative length": post(b"Content-Length: -1", body=INNER),
    "a length in hex": post(b"Content-Length: 0x00", body=INNER),
    "a length with letters": post(b"Content-Length: 0a", body=INNER),
    "a length with a space inside": post(b"Content-Length: 0 0", body=INNER),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551616", body=INNER),
    "no length": post(b"Content-Length:", body=INNER),
    "a space before the colon of the length": post(b"Content-Length : %d" % len(INNER), body=INNER),
    "a space before the colon of the encoding": post(b"Transfer-Encoding : chunked", body=CHUNKED_INNER),
    "an encoding that does not end in chunked": post(b"Transfer-Encoding: chunked, gzip", body=INNER),
    "an unknown encoding": post(b"Transfer-Encoding: xchunked", body=INNER),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKED_INNER),
    "a control character before chunked": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKED_INNER),
    "a line that ends in CR alone": post(b"A: b\rContent-Length: %d" % len(INNER), body=INNER),
    "a folded header": post(b"A: b\r\n Content-Length: 0", b"Content-Length: %d" % len(INNER), body=INNER),
    "a NUL in a header": post(b"A: \x00", b"Content-Length: 0", body=INNER),
    "a chunk size with a sign": post(b"Transfer-Encoding: chunked", body=b"+0\r\n\r\n" + INNER),
    "a chunk size in 0x": post(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + INNER),
    "a chunk size that is none": post(b"Transfer-Encoding: chunked", body=b"\r\n\r\n" + INNER),
    "a chunk size beyond 64 bits": post(b"Transfer-Encoding: chunked", body=b"10000000000000000\r\n" + INNER),
    "a length in a trailer": post(
        b"Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER
    ),
    "a chunk that is longer than it says": post(b"Transfer-Encoding: chunked", body=b"1\r\nxx\r\n0\r\n\r\n" + INNER),
}


class Service:
    """Notes the subject and the payload of all that reaches it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    async def answer(self, msg: Msg) -> None:
        self.heard.append((msg.subject.removeprefix("smuggle."), msg.data))
        await msg.respond(msg.subject.encode())


async def send(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.03 if len(pieces) > 1 else 0)
    with contextlib.suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65_536), 5):
            answer += chunk
    writer.close()
    return answer


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(
    shared_nats: NatsServer, data: bytes, in_pieces: bool
) -> None:
    service = Service()
    head, _, body = data.partition(b"\r\n\r\n")
    pieces = (head + b"\r\n\r\n", body, AFTER) if in_pieces else (data + AFTER,)
    async with (
        responder(shared_nats.url, "smuggle.>", service.answer),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        answer = await send(gateway.port, *pieces)
        assert service.heard == []
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) in ([b"400"], [])  # a body that breaks off gets no answer
        assert gateway.link.in_flight == 0


TAKEN = {
    "a body by length": post(b"Content-Length: %d" % len(INNER), body=INNER),
    "a body in chunks": post(b"Transfer-Encoding: chunked", body=CHUNKED_INNER),
    "a chunk with an extension": post(
        b"Transfer-Encoding: chunked", body=b'%x;a="b"\r\n%b\r\n0\r\n\r\n' % (len(INNER), INNER)
    ),
    "chunks with a trailer": post(
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\nX-Request-Id: late\r\nHost: other\r\n\r\n" % (len(INNER), INNER),
    ),
    "an encoding in capitals": post(b"TRANSFER-ENCODING: Chunked", body=CHUNKED_INNER),
    "an offer to upgrade": post(
        b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: %d" % len(INNER), body=INNER
    ),
    "a length in a header that connection nominates": post(
        b"Connection: Content-Length", b"Content-Length: %d" % len(INNER), body=INNER
    ),
}


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN)
async def test_a_body_is_a_body_whatever_it_looks_like(shared_nats: NatsServer, data: bytes, in_pieces: bool) -> None:
    service = Service()
    head, _, body = data.partition(b"\r\n\r\n")
    pieces = (head + b"\r\n\r\n", body[:7], body[7:], AFTER) if in_pieces else (data + AFTER,)
    async with (
        responder(shared_nats.url, "smuggle.>", service.answer),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        answer = await send(gateway.port, *pieces)
    assert service.heard == [("echo", INNER), ("greet.after", b"")]
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_the_body_of_a_request_that_needs_none_is_not_another_request(shared_nats: NatsServer) -> None:
    service = Service()
    get = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(INNER)
    async with (
        responder(shared_nats.url, "smuggle.>", service.answer),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        for pieces in ((get + INNER + AFTER,), (get, INNER[:9], INNER[9:], AFTER)):
            service.heard.clear()
            answer = await send(gateway.port, *pieces)
            assert [subject for subject, _ in service.heard] == ["greet.sue", "greet.after"]
            assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("refused", [b"POST /greet/sue HTTP/1.1", b"GET /greet/a.b HTTP/1.1", b"GET /nowhere HTTP/1.1"])
async def test_the_body_of_a_request_that_is_refused_at_once_is_not_another_request(
    shared_nats: NatsServer, refused: bytes
) -> None:
    service = Service()
    head = refused + b"\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(INNER)
    async with (
        responder(shared_nats.url, "smuggle.>", service.answer),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        for pieces in ((head + INNER + AFTER,), (head, INNER[:9], INNER[9:], AFTER)):
            service.heard.clear()
            answer = await send(gateway.port, *pieces)
            assert service.heard == [("greet.after", b"")]
            assert [status[:1] for status in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [b"4", b"2"]


async def test_a_mix_of_fast_and_slow_requests_in_one_piece_is_answered_in_order(shared_nats: NatsServer) -> None:
    service = Service()
    requests = [
        b"GET /greet/one HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n",
        post(b"Content-Length: 2", body=b"hi"),
        b"GET /greet/a.b HTTP/1.1\r\nHost: t\r\n\r\n",
        post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"2\r\nho\r\n0\r\n\r\n"),
        b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /greet/two HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    ]
    async with (
        responder(shared_nats.url, "smuggle.>", service.answer),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        for pieces in ([b"".join(requests)], requests, [b"".join(requests[:3]), b"".join(requests[3:])]):
            service.heard.clear()
            answer = await send(gateway.port, *pieces)
            statuses = [status for status in re.findall(rb"HTTP/1.1 (\d+)", answer) if status != b"100"]
            assert statuses == [b"200", b"200", b"200", b"422", b"200", b"404", b"200"]
            assert service.heard == [("greet.one", b""), ("echo", b"hi"), ("echo", b"ho"), ("greet.two", b"")]
            assert gateway.link.in_flight == 0
