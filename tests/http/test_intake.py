"""What comes over one connection is taken a request at a time, in pieces that hold up nobody, and within bounds."""

import asyncio
import contextlib
import gc
import itertools
import json
import re
import weakref
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from app.http.asgi import _Upload
from app.http.fast import FastProtocol
from app.http.head import MAX_FIELDS
from app.http.intake import MAX_EXTRA, PIECE, Intake
from app.http.protocol import GatewayProtocol
from app.http.uploads import Uploads
from app.routing.routes import Route
from tests.harness import Gateway, NatsServer, RawPeer, eventually, replying, responder, run_gateway

GREETING = Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}")
ECHO = Route(name="echo", methods=("POST",), path="/echo", subject="echo", payload="body")
GET = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\n"
LAST = b"GET /greet/last HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.server.CHECK_TICKS", 1)


@pytest.fixture
async def served(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    """A gateway whose two routes are answered."""

    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    async with (
        responder(shared_nats.url, "greet.*", replying(b"hi")),
        responder(shared_nats.url, "echo", echo),
        run_gateway(shared_nats.url, routes=[GREETING, ECHO]) as gateway,
    ):
        yield gateway


@contextlib.asynccontextmanager
async def connect(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def converse(gateway: Gateway, *pieces: bytes, pause: float = 0.02) -> bytes:
    """All that comes back to these pieces until the connection is closed."""
    async with connect(gateway) as (reader, writer):
        answer = b""
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            while data := await asyncio.wait_for(reader.read(65_536), 10):
                answer += data
        return answer


def find_statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answer)]


def find_slugs(answer: bytes) -> list[str]:
    return [slug.decode() for slug in re.findall(rb'"type":"/problems/([a-z0-9-]+)"', answer)]


# The head


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /greet/sue HTTP/1.1\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: a b\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: a:b\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: user@a\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost:\r\n\r\n" + LAST, [200, 200]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: [::1]:80\r\n\r\n" + LAST, [200, 200]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: A-b_c.example:8000\r\n\r\n" + LAST, [200, 200]),
        (b"GET /greet/sue HTTP/1.0\r\n\r\n", [200]),
        (b"GET /greet/sue HTTP/2.0\r\nHost: t\r\n\r\n", [505]),
        (b"GET /greet/sue HTTP/2.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n", [505]),
        (b"GET /greet/sue HTTP/0.9\r\nHost: t\r\n\r\n", [505]),
        (b"GET /greet/sue\r\nHost: t\r\n\r\n", [505]),
        (b"GET /greet/sue HTTP/1.2\r\nHost: t\r\n\r\n", [505]),
        (b"GET /greet/sue HTTP/3.0\r\nHost: t\r\n\r\n", [505]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", [400]),
        (b"GET /greet/sue HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
        (b"GET http://t HTTP/1.1\r\nHost: t\r\n\r\n" + LAST, [307, 200]),
        (b"GET http://t?x=1 HTTP/1.1\r\nHost: t\r\n\r\n" + LAST, [307, 200]),
        (b"GET http://t/greet/sue HTTP/1.1\r\nHost: t\r\n\r\n" + LAST, [200, 200]),
        (b"GET t:80 HTTP/1.1\r\nHost: t\r\n\r\n", [400]),
        (b"CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n", [400]),
        (b"\r\n\n\r\n" + GET + b"\r\n\r\n\r\n" + LAST, [200, 200]),
    ],
    ids=str,
)
async def test_a_head_is_held_to_rfc_9112(served: Gateway, head: bytes, statuses: list[int]) -> None:
    for size in (len(head), 7):
        pieces = [head[start : start + size] for start in range(0, len(head), size)]
        assert find_statuses(await converse(served, *pieces, pause=0.002)) == statuses
    assert served.link.in_flight == 0


@pytest.mark.parametrize(("count", "status"), [(MAX_FIELDS - 2, 200), (MAX_FIELDS + 1, 431), (15_000, 431)])
async def test_a_head_has_a_bound_on_its_fields(served: Gateway, count: int, status: int) -> None:
    head = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: close\r\n" + b"a:\r\n" * count + b"\r\n"
    assert find_statuses(await converse(served, head)) == [status]


async def test_http_1_0_is_sent_no_100_continue(served: Gateway) -> None:
    head = b"POST /echo HTTP/1.0\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    answer = await converse(served, head, b"hi")
    assert find_statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\nhi")


# A request at a time


@pytest.mark.parametrize(("size", "count"), [(30, 1000), (4000, 1000), (250_000, 1500)])
async def test_what_comes_behind_a_request_in_flight_waits_unparsed(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch, size: int, count: int
) -> None:
    begun = 0
    begin = GatewayProtocol.on_headers_complete

    def note(self: GatewayProtocol) -> None:
        nonlocal begun
        begun += 1
        begin(self)

    monkeypatch.setattr(GatewayProtocol, "on_headers_complete", note)
    flood = b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n" * count
    async with (
        RawPeer.connect(shared_nats.url, "greet.*") as peer,
        run_gateway(shared_nats.url, routes=[GREETING]) as gateway,
        connect(gateway) as (reader, writer),
    ):
        before = begun
        data = GET + flood + LAST
        for start in range(0, min(len(data), 10 * size), size):
            writer.write(data[start : start + size])
            await asyncio.sleep(0.001)
        writer.write(data[10 * size :])
        message = await peer.next()
        await asyncio.sleep(0.1)
        assert begun - before == 1
        assert 0 < gateway.bounds.unparsed.used <= len(data)
        peer.write(b"PUB %b 2\r\nhi\r\n" % message.reply)
        answering = asyncio.create_task(reader.read(-1))
        last = await peer.next()
        assert last.subject == "greet.last"
        peer.write(b"PUB %b 2\r\nho\r\n" % last.reply)
        answer = await answering
        assert find_statuses(answer) == [200, *[404] * count, 200]
        await eventually(lambda: gateway.bounds.unparsed.used == 0)


async def test_a_body_that_is_asked_for_brings_no_more_of_what_waits_behind_it(shared_nats: NatsServer) -> None:
    """Each request asks for more of its body, while megabytes of the others wait behind it."""
    announced = b"POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        RawPeer.connect(shared_nats.url, "echo") as peer,
        connect(gateway) as (reader, writer),
    ):
        bounds = gateway.bounds
        writer.write(announced * 50_000)
        reading = asyncio.create_task(reader.read(-1))
        for _ in range(20):
            message = await peer.next()
            assert bounds.unparsed.used < 600_000
            peer.write(b"PUB %b 2\r\nho\r\n" % message.reply)
        writer.transport.abort()
        await reading
        await eventually(lambda: bounds.unparsed.used == 0)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_the_end_of_a_request_is_found_wherever_it_is_cut(served: Gateway, size: int) -> None:
    body = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n"
    chunks = CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\nA: b\r\n\r\n"
    data = GET + body + b"\r\n" + chunks + GET + LAST
    for shift in range(size):
        cuts = [0, *range(shift or size, len(data), size), len(data)]
        pieces = [data[start:end] for start, end in itertools.pairwise(cuts)]
        answer = await converse(served, *pieces, pause=0)
        assert find_statuses(answer) == [200] * 5


async def test_many_offers_to_upgrade_are_like_one(served: Gateway) -> None:
    offer = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
    assert find_statuses(await converse(served, offer * 600 + LAST)) == [200] * 601


async def test_requests_that_come_at_once_share_the_loop_with_others(served: Gateway) -> None:
    """After each request there is a turn of the loop."""
    waits: list[float] = []
    loop = asyncio.get_running_loop()

    async def look() -> None:
        while True:
            began = loop.time()
            await asyncio.sleep(0)
            waits.append(loop.time() - began)

    looking = asyncio.create_task(look())
    answer = await converse(served, b"PUT /echo HTTP/1.1\r\nHost: t\r\n\r\n" * 2000 + LAST)
    looking.cancel()
    assert find_statuses(answer) == [405] * 2000 + [200]
    assert len(waits) >= 2000


# A body


@pytest.mark.parametrize("target", [b"/echo", b"/greet/sue", b"/nowhere", b"/livez"])
@pytest.mark.parametrize(
    "extra",
    [
        b"0\r\n" + b"a:\r\n" * 100_000,
        b"0\r\na: " + b"x" * 400_000,
        b"1;" + b"x" * 400_000,
        b"1;" + b"x=y;" * 100_000,
        b"0" * 400_000,
    ],
    ids=["trailers", "a trailer", "an extension", "extensions", "a size"],
)
async def test_trailers_and_chunk_extensions_have_a_bound(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, target: bytes, extra: bytes
) -> None:
    parsed = 0
    parse = Intake._parse

    def count(self: Intake, data: bytes) -> None:
        nonlocal parsed
        parsed += len(data)
        parse(self, data)

    monkeypatch.setattr(Intake, "_parse", count)
    head = CHUNKED.replace(b"POST /echo", (b"POST " if target == b"/echo" else b"GET ") + target)
    pieces = [head] + [extra[start : start + 50_000] for start in range(0, len(extra), 50_000)]
    answer = await converse(served, *pieces, pause=0.001)
    assert parsed <= len(head) + MAX_EXTRA + 2 * PIECE
    statuses = find_statuses(answer)
    assert statuses == ([431] if target == b"/echo" and extra[:1] != b"0" * 2 else statuses[:1])
    assert len(statuses) <= 1
    await eventually(lambda: not served.server.server_state.connections)
    assert served.link.in_flight == 0


async def test_trailers_are_dropped(shared_nats: NatsServer) -> None:
    trailers = b"0\r\nTraceparent: late\r\nX-Request-Id: late\r\nHost: other\r\n\r\n"
    async with (
        RawPeer.connect(shared_nats.url, "echo") as peer,
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
    ):
        answering = asyncio.create_task(converse(gateway, CHUNKED + b"2\r\nhi\r\n" + trailers, LAST))
        message = await peer.next()
        assert (b"late" in message.headers, message.payload) == (False, b"hi")
        peer.write(b"PUB %b 2\r\nho\r\n" % message.reply)
        answer = await answering
    assert find_statuses(answer) == [200, 404]
    assert b"late" not in answer


@pytest.mark.parametrize("target", [b"POST /echo", b"GET /greet/sue", b"GET /nowhere", b"PUT /echo"])
async def test_a_trailer_that_ends_the_connection_ends_it(served: Gateway, target: bytes) -> None:
    head = CHUNKED.replace(b"POST /echo", target)
    for pieces in ([head + b"0\r\nConnection: close\r\n\r\n" + GET], [head, b"0\r\nConnection: close\r\n\r\n", GET]):
        answer = await converse(served, *pieces)
        assert len(find_statuses(answer)) == 1
        if target == b"POST /echo":  # the others may have had their answer before
            assert answer.lower().count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize(
    ("lines", "count"), [(b"1\r\na\r\n", 10_000), (b"2\r\n\r\n\r\n", 1_000)], ids=["letters", "line ends"]
)
async def test_a_body_of_small_chunks_arrives_whole_and_takes_a_piece_a_turn(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, lines: bytes, count: int
) -> None:
    """Here every piece is as dear as a turn may be."""
    monkeypatch.setattr("app.http.bounds.TURN", 1e-9)
    turns, waits = 0, 0
    loop = asyncio.get_running_loop()
    wait = served.bounds.turns.wait

    def count_wait(go_on: Callable[[], None]) -> None:
        nonlocal waits
        waits += 1
        wait(go_on)

    monkeypatch.setattr(served.bounds.turns, "wait", count_wait)

    def count_turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(count_turn)

    loop.call_soon(count_turn)
    text = lines.partition(b"\r\n")[2][:-2]
    answer = await converse(served, CHUNKED + lines * count + b"0\r\n\r\n", LAST)
    assert find_statuses(answer) == [200, 200]
    assert (b"\r\n\r\n" + text * count + b"HTTP/1.1") in answer
    assert waits > len(lines) * count / PIECE * 0.9
    assert turns > waits


async def test_a_body_that_is_broken_is_answered_where_nothing_was_sent(served: Gateway) -> None:
    for broken in (b"zz\r\n", b"5\r\nhello\r\nzz\r\n", b"5\r\nhelloX"):
        for pieces in ([CHUNKED + broken], [CHUNKED, broken]):
            answer = await converse(served, *pieces)
            assert (find_statuses(answer), find_slugs(answer)) == ([400], ["bad-request"])
            assert b'"delivered":"no"' in answer
    await eventually(lambda: not served.server.server_state.connections)


async def test_a_body_that_is_broken_behind_its_answer_is_answered_no_second_time(served: Gateway) -> None:
    head = CHUNKED.replace(b"POST /echo", b"GET /nowhere")
    assert find_statuses(await converse(served, head, b"zz\r\n", GET)) == [404]


# The end


@pytest.mark.parametrize("request_", [GET, b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi"], ids=str)
@pytest.mark.parametrize("count", [1, 3])
async def test_a_caller_that_has_closed_its_half_gets_its_answers(
    shared_nats: NatsServer, request_: bytes, count: int
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "greet.*", "echo") as peer,
        run_gateway(shared_nats.url, routes=[GREETING, ECHO]) as gateway,
        connect(gateway) as (reader, writer),
    ):
        writer.write(request_ * count)
        writer.write_eof()
        for _ in range(count):
            message = await peer.next()
            await asyncio.sleep(0.3)  # longer than it takes to look whether somebody has gone
            peer.write(b"PUB %b 2\r\nho\r\n" % message.reply)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert find_statuses(answer) == [200] * count
        assert answer.count(b"HTTP/1.1 ") == count
        assert answer.endswith(b"\r\n\r\nho")
        assert answer.lower().count(b"connection: close") <= 1
    await eventually(lambda: not gateway.server.server_state.connections)


async def test_a_caller_that_has_closed_its_half_gets_a_large_answer_and_a_problem(shared_nats: NatsServer) -> None:
    async with (
        responder(shared_nats.url, "greet.sue", replying(b"x" * 900_000)),
        run_gateway(shared_nats.url, routes=[GREETING]) as gateway,
    ):
        for target, status in ((b"/greet/sue", 200), (b"/greet/nobody", 503), (b"/nowhere", 404), (b"/docs", 200)):
            async with connect(gateway) as (reader, writer):
                writer.write(GET.replace(b"/greet/sue", target))
                writer.write_eof()
                head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
                assert find_statuses(head) == [status]
                length = re.search(rb"content-length: (\d+)", head)
                assert length is not None
                assert len(body) == int(length[1])


async def test_connections_that_end_leave_nothing_for_the_garbage_collector(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[GatewayProtocol]] = []
    begin = GatewayProtocol.connection_made

    def note(self: GatewayProtocol, transport: asyncio.Transport) -> None:
        made.append(weakref.ref(self))
        begin(self, transport)

    monkeypatch.setattr(GatewayProtocol, "connection_made", note)
    gc.collect()
    gc.disable()
    try:
        for data in (
            LAST,
            CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + LAST,
            GET.replace(b"/greet/sue", b"/livez"),
            GET.replace(b"/greet/sue", b"/nowhere") * 5,
            b"GET /gre",
            CHUNKED + b"2\r\nhi\r\n",
            CHUNKED + b"zz\r\n",
            b"\x00",
            GET * 50,
        ):
            async with connect(served) as (_, writer):
                writer.write(data)
                await asyncio.sleep(0.1)
        await eventually(lambda: not served.server.server_state.connections)
        await eventually(lambda: not [ref for ref in made if ref() is not None])
        assert len(made) >= 9
    finally:
        gc.enable()


async def test_over_the_cap_a_caller_that_has_its_answer_and_goes_on_to_send_makes_room(
    shared_nats: NatsServer,
) -> None:
    unsent = b"GET /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nx"
    async with (
        responder(shared_nats.url, "greet.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=[GREETING], max_connections=3) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        opened = [await stack.enter_async_context(connect(gateway)) for _ in range(3)]
        for reader, writer in opened[:2]:
            writer.write(unsent)
            assert b"404" in await reader.readuntil(b"\r\n\r\n")
        opened[2][1].write(GET)
        assert b" 200 " in await opened[2][0].readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        for _ in range(3):  # first the idle one, then those that have their answer
            fresh = await stack.enter_async_context(connect(gateway))
            fresh[1].write(unsent)
            assert b" 404 " in await fresh[0].readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.3)


# Bugs of ours


@pytest.mark.parametrize("callback", ["begin_request", "on_body", "on_message_complete", "on_url"])
async def test_a_bug_in_a_callback_of_the_parser_is_internal_with_its_traceback(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], callback: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patch:
        for protocol in (FastProtocol, GatewayProtocol):
            patch.setattr(protocol, callback, fail)
        answer = await converse(served, b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi")
    assert (find_statuses(answer), find_slugs(answer)) == ([500], ["internal"])
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert "bug of ours" not in answer.decode()
    out, err = capfd.readouterr()
    (line,) = [json.loads(text) for text in (out + err).splitlines() if "internal-error" in text]
    assert line["request_id"] == problem["request_id"]
    assert "RuntimeError: a bug of ours" in line["exception"]
    assert "in fail" in line["exception"]
    assert find_statuses(await converse(served, LAST)) == [200]


# What a request holds is let go


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n") + b"5\r\nhel",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: foo\r\nContent-Length: 90000\r\n\r\nhel",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Request-Timeout: 20s\r\n\r\n") + b"5\r\nhelloXX",
        CHUNKED + b"5\r\nhel",
    ],
    ids=["upgrade, chunked", "upgrade, length", "broken", "left"],
)
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_an_upload_that_ends_in_any_way_gives_its_memory_back(
    served: Gateway, data: bytes, in_pieces: bool
) -> None:
    bounds = served.bounds
    for _ in range(3):
        async with connect(served) as (_, writer):
            for piece in (data[:40], data[40:]) if in_pieces else (data,):
                writer.write(piece)
                await asyncio.sleep(0.03)
    await eventually(lambda: not served.server.server_state.connections)
    await eventually(lambda: (bounds.uploads.used, bounds.unparsed.used) == (0, 0), 2)


async def test_an_upload_that_offers_an_upgrade_and_waits_for_memory_arrives(shared_nats: NatsServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 20s\r\nContent-Length: 500000\r\n"

    async def echo(msg: Msg) -> None:
        await msg.respond(b"%d" % len(msg.data))

    async with (
        responder(shared_nats.url, "echo", echo),
        run_gateway(shared_nats.url, routes=[ECHO], max_buffered=1024 * 1024) as gateway,
        connect(gateway) as (_, stalled),
        connect(gateway) as (reader, writer),
    ):
        stalled.write(head.replace(b"500000", b"1000000") + b"\r\nx")
        await eventually(lambda: gateway.bounds.uploads.used)
        writer.write(head + b"Connection: upgrade\r\nUpgrade: foo\r\n\r\nhel")
        await eventually(lambda: gateway.bounds.uploads._waiting)
        stalled.close()
        writer.write(b"x" * 499_997)
        assert find_statuses(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)) == [200]
        assert await reader.readexactly(6) == b"500000"


async def test_an_upload_waits_unread(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO], max_buffered=4 * 1024 * 1024, max_body=8_000_000) as gateway,
        connect(gateway) as (_, stalled),
        connect(gateway) as (_, writer),
    ):
        bounds = gateway.bounds
        stalled.write(CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Request-Timeout: 20s\r\n\r\n") + b"5\r\nhel")
        await eventually(lambda: bounds.uploads.used)
        writer.write(CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Request-Timeout: 20s\r\n\r\n") + b"5\r\nhel")
        await eventually(lambda: bounds.uploads._waiting)
        writer.write(b"lo\r\n700000\r\n" + b"x" * 7_000_000)
        await asyncio.sleep(0.3)
        assert bounds.unparsed.used < 1_000_000


async def test_a_response_that_waits_for_its_caller_to_read_still_ends_the_connection(shared_nats: NatsServer) -> None:
    async with (
        responder(shared_nats.url, "greet.*", replying(b"x" * 70_000)),
        run_gateway(shared_nats.url, routes=[GREETING]) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=4096)
        await eventually(lambda: gateway.server.server_state.connections)
        (connection,) = gateway.server.server_state.connections
        count = 0
        while not connection.flow.write_paused:  # type: ignore[union-attr]
            writer.write(GET)
            count += 1
            await asyncio.sleep(0.02)
        writer.write(GET)
        await eventually(lambda: gateway.bounds.unread._pot.used > 70_000)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
        assert find_statuses(answer) == [200] * (count + 1)


def test_an_upload_is_evicted_in_the_moment_when_its_time_is_up() -> None:
    async def wait() -> None:
        outbound = cast("Any", SimpleNamespace(request=SimpleNamespace(headers=[]), max_body=10))
        async with asyncio.timeout(0.01) as timeout:
            upload = _Upload(Uploads(100), outbound)
            await upload.ask(timeout)
            asyncio.get_running_loop().call_at(timeout.when() or 0, upload.evicted)
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
