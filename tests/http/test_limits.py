"""What one connection may take, and what happens to the others meanwhile."""

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.msg import Msg

from app.http.intake import MAX_HEAD
from app.http.process import OTHER_FILES, fit_connections
from app.http.protocol import RESERVE
from app.routing.routes import Route
from tests.harness import Gateway, NatsServer, eventually, replying, responder, run_gateway

GREET = Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}")
ECHO = Route(name="echo", methods=("POST",), path="/echo", subject="echo", payload="body")
ENDLESS = b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 9000000000\r\n\r\n"
HEAD = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n"


@pytest.fixture(autouse=True)
def _checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.server.CHECK_TICKS", 1)


@contextlib.asynccontextmanager
async def open_connection(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the gateway closes the connection, in whatever way."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := await asyncio.wait_for(reader.read(65_536), 10):
            answer += chunk
    return answer


async def read_response(reader: asyncio.StreamReader) -> bytes:
    """One response whose length is told."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def check_problem(answer: bytes, status: int, slug: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head
    assert head.lower().split(b"\r\n").count(b"connection: close") == 1
    problem = json.loads(body)
    assert (problem["type"], problem["status"], problem["delivered"]) == (f"/problems/{slug}", status, "no")


# The head


@pytest.mark.parametrize("size", [1, 5000, 200_000])
@pytest.mark.parametrize(
    ("head", "status", "slug"),
    [
        (b"GET /greet/" + b"a" * 90_000, 414, "uri-too-long"),
        (b"GET /greet/" + b"a" * 90_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414, "uri-too-long"),
        (HEAD + b"A: %b\r\n" % (b"x" * 1000) * 90, 431, "headers-too-large"),
        (HEAD + b"A: %b\r\n" % (b"x" * 1000) * 90 + b"\r\n", 431, "headers-too-large"),
        (HEAD + b"A: %b" % (b"x" * 140_000), 431, "headers-too-large"),
        (HEAD + b"A: %b\r\n\r\n" % (b"x" * 90_000), 431, "headers-too-large"),
    ],
    ids=["uri", "whole-uri", "headers", "whole-headers", "header", "whole-header"],
)
async def test_a_head_over_64_kib_is_refused_however_it_comes(
    gateway: Gateway, head: bytes, status: int, slug: str, size: int
) -> None:
    async with open_connection(gateway) as (reader, writer):
        if size == 1:
            writer.write(head[:-1])
            await asyncio.sleep(0.05)
            writer.write(head[-1:])
        for start in range(0, len(head), size) if size > 1 else ():
            writer.write(head[start : start + size])
            await asyncio.sleep(0.001)
        check_problem(await read_all(reader), status, slug)
    assert (await gateway.get("/livez")).status_code == 200


@pytest.mark.parametrize("size", [3000, 200_000])
async def test_a_head_just_under_64_kib_is_taken_also_behind_another_request(
    gateway: Gateway, shared_nats: NatsServer, size: int
) -> None:
    head = HEAD + b"A: %b\r\n" % (b"x" * (MAX_HEAD - 100)) + b"\r\n"
    async with responder(shared_nats.url, "greet.*", replying(b"hi")), open_connection(gateway) as (reader, writer):
        data = HEAD + b"\r\n" + head * 2 + HEAD + b"Connection: close\r\n\r\n"
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await asyncio.sleep(0.001)
        assert (await read_all(reader)).count(b"HTTP/1.1 200 OK") == 4


async def test_a_head_that_trickles_in_has_a_time_to_arrive(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 0.4)
    async with open_connection(gateway) as (reader, writer):
        answer = asyncio.create_task(read_all(reader))
        for byte in HEAD:
            if answer.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
        check_problem(await asyncio.wait_for(answer, 5), 408, "request-timeout")
    assert (await gateway.get("/livez")).status_code == 200


async def test_a_caller_that_goes_on_after_its_refusal_is_refused_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 0.2)
    async with open_connection(gateway) as (reader, writer):
        writer.write(HEAD)
        check_problem(await read_all(reader), 408, "request-timeout")
        await asyncio.sleep(0.5)  # longer than a head may take, and shorter than the last words
        writer.write(b"\r\n")
        await eventually(lambda: not gateway.server.server_state.connections)
    assert (await gateway.get("/livez")).status_code == 200


async def test_the_time_of_a_head_begins_with_it_on_a_connection_that_was_idle(
    gateway: Gateway, shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 1.0)
    async with responder(shared_nats.url, "greet.*", replying(b"hi")), open_connection(gateway) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert (await read_response(reader)).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(1.3)  # idle for longer than a head may take
        writer.write(HEAD)
        await asyncio.sleep(0.3)
        writer.write(b"\r\n")
        assert (await read_response(reader)).startswith(b"HTTP/1.1 200 ")
        writer.write(HEAD)
        check_problem(await read_all(reader), 408, "request-timeout")


async def test_a_connection_that_sends_nothing_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.patience.HEAD_TIMEOUT", 0.3)
    async with open_connection(gateway) as (reader, _):
        assert await read_all(reader) == b""
    await eventually(lambda: not gateway.server.server_state.connections)


async def test_an_idle_connection_is_closed_after_its_time_and_not_before(
    gateway: Gateway, shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.KEEP_ALIVE", 2.0)
    async with responder(shared_nats.url, "greet.*", replying(b"hi")), open_connection(gateway) as (reader, writer):
        for _ in range(8):
            writer.write(HEAD + b"\r\n")
            assert (await read_response(reader)).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.3)
        assert await read_all(reader) == b""


# The body


async def test_a_body_that_trickles_in_gets_408_at_its_deadline_and_nothing_is_sent(shared_nats: NatsServer) -> None:
    seen: list[bytes] = []

    async def note(msg: Msg) -> None:
        seen.append(msg.data)

    async with (
        responder(shared_nats.url, "echo", note),
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        open_connection(gateway) as (reader, writer),
    ):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 300ms\r\nContent-Length: 1000\r\n\r\n")
        answer = asyncio.create_task(read_all(reader))
        for _ in range(100):
            if answer.done():
                break
            writer.write(b"x")
            await asyncio.sleep(0.02)
        check_problem(await asyncio.wait_for(answer, 5), 408, "request-timeout")
        await eventually(lambda: not gateway.server.server_state.connections)
        assert gateway.link.in_flight == 0
    assert seen == []


@pytest.mark.parametrize("target", [b"/nowhere", b"/docs", b"/greet/sue"])
async def test_a_body_that_nobody_waits_for_has_a_time_to_arrive_too(
    gateway: Gateway, shared_nats: NatsServer, target: bytes
) -> None:
    gateway.bounds.body_timeout = 0.4
    async with responder(shared_nats.url, "greet.*", replying(b"hi")), open_connection(gateway) as (reader, writer):
        writer.write(b"GET %b HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n" % target)
        answer = asyncio.create_task(read_all(reader))
        for _ in range(100):
            if answer.done():
                break
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert (await asyncio.wait_for(answer, 5)).count(b"HTTP/1.1 ") == 1
    await eventually(lambda: not gateway.server.server_state.connections)


async def test_an_application_that_waits_for_a_body_is_not_left_waiting(gateway: Gateway) -> None:
    gateway.bounds.body_timeout = 0.3
    ended = asyncio.Event()

    async def read_body(scope: object, receive: object, send: object) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":  # type: ignore[operator]
                pass
        finally:
            ended.set()

    gateway.app.mount("/upload", read_body)
    async with open_connection(gateway) as (reader, writer):
        writer.write(b"POST /upload/file HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nx")
        check_problem(await read_all(reader), 408, "request-timeout")
    await asyncio.wait_for(ended.wait(), 5)


# The response


async def test_a_caller_that_does_not_read_is_cut_off_and_holds_no_more_than_its_responses(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.WRITE_TIMEOUT", 0.5)
    asked = 0

    async def reply(msg: Msg) -> None:
        nonlocal asked
        asked += 1
        await msg.respond(bytes(1_000_000))

    async with (
        responder(shared_nats.url, "greet.*", reply),
        run_gateway(shared_nats.url, routes=[GREET]) as gateway,
        open_connection(gateway) as (_, writer),
    ):
        writer.write((HEAD + b"\r\n") * 200)
        await eventually(lambda: asked)
        await eventually(lambda: not gateway.server.server_state.connections)
        assert gateway.link.in_flight == 0
        assert asked < 20


async def test_a_caller_that_reads_slowly_gets_all_of_it(shared_nats: NatsServer) -> None:
    body = bytes(range(256)) * 3906
    async with (
        responder(shared_nats.url, "greet.*", replying(body)),
        run_gateway(shared_nats.url, routes=[GREET]) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=8192)
        writer.write((HEAD + b"\r\n") * 7 + HEAD + b"Connection: close\r\n\r\n")
        answer = b""
        while chunk := await reader.read(65_536):
            answer += chunk
            await asyncio.sleep(0.002)
        writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 8
    assert answer.count(body) == 8


async def test_a_response_waits_until_the_caller_reads_those_before_it(shared_nats: NatsServer) -> None:
    body = bytes(range(256)) * 3906
    async with (
        responder(shared_nats.url, "greet.*", replying(body)),
        run_gateway(shared_nats.url, routes=[GREET]) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=8192)
        await eventually(lambda: gateway.server.server_state.connections)
        (connection,) = gateway.server.server_state.connections
        for _ in range(15):
            writer.write(HEAD + b"\r\n")
            await asyncio.sleep(0.03)
            assert connection.transport.get_write_buffer_size() < 1_100_000  # one response
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        answer = await read_all(reader)
        writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 16
    assert answer.count(body) == 16


@contextlib.asynccontextmanager
async def sending(writer: asyncio.StreamWriter, *, times: int) -> AsyncIterator[asyncio.Task[None]]:
    """Somebody who goes on to send, for `times` steps of 50 ms, whatever is answered. Raises where that is cut off."""

    async def send() -> None:
        for _ in range(times):
            writer.write(bytes(120_000))
            await writer.drain()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(send())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2dc6c0\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 1ms\r\nContent-Length: 3000000\r\n\r\n", 408),
        (b"POST /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n", 404),
        (b"DELETE /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n", 405),
    ],
    ids=["announced", "chunked", "late", "no route", "no method"],
)
async def test_who_sends_all_of_a_body_before_reading_gets_the_answer(
    shared_nats: NatsServer, head: bytes, status: int
) -> None:
    max_body = 4_000_000 if status == 408 else 100_000
    async with (
        run_gateway(shared_nats.url, routes=[ECHO], max_body=max_body) as gateway,
        open_connection(gateway) as (reader, writer),
    ):
        writer.write(head)
        async with sending(writer, times=25) as sent:
            await sent
        answer = await asyncio.wait_for(reader.read(), 10)  # no reset, which could take the answer with it
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1
        writer.close()
        await eventually(lambda: not gateway.server.server_state.connections)


async def test_who_goes_on_to_send_after_the_answer_is_cut_off_in_the_end(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.patience.LONGEST_LINGER", 0.5)
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        open_connection(gateway) as (_, writer),
    ):
        writer.write(ENDLESS)
        async with sending(writer, times=200) as sent:
            with pytest.raises(ConnectionError):
                await sent
        assert not gateway.server.server_state.connections


async def test_a_stop_does_not_wait_for_who_goes_on_to_send_after_the_answer(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        open_connection(gateway) as (reader, writer),
    ):
        writer.write(ENDLESS)
        async with sending(writer, times=200):
            check_problem(await reader.read(), 413, "payload-too-large")
            began = time.monotonic()
            gateway.server.should_exit = True
            await eventually(lambda: not gateway.server.server_state.connections)
            assert time.monotonic() - began < 4  # it takes 1.3 s; the drain timeout is 5


# Connections


async def test_over_the_cap_the_connection_that_is_idle_for_longest_makes_room(
    shared_nats: NatsServer,
) -> None:
    async with (
        responder(shared_nats.url, "greet.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=[GREET], max_connections=3) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        opened = []
        for _ in range(3):
            reader, writer = await stack.enter_async_context(open_connection(gateway))
            writer.write(HEAD + b"\r\n")
            await read_response(reader)
            opened.append((reader, writer))
            await asyncio.sleep(0.3)
        opened[0][1].write(HEAD + b"\r\n")  # now the second one is idle for longest
        await read_response(opened[0][0])
        await asyncio.sleep(0.3)
        reader, writer = await stack.enter_async_context(open_connection(gateway))
        writer.write(HEAD + b"\r\n")
        assert (await read_response(reader)).startswith(b"HTTP/1.1 200 ")
        assert await read_all(opened[1][0]) == b""
        for index in (0, 2):
            opened[index][1].write(HEAD + b"\r\n")
            assert (await read_response(opened[index][0])).startswith(b"HTTP/1.1 200 ")


async def test_over_the_cap_a_connection_is_overloaded_where_all_others_are_at_work(shared_nats: NatsServer) -> None:
    async def stay_silent(msg: Msg) -> None:
        pass

    async with (
        responder(shared_nats.url, "greet.*", stay_silent),
        run_gateway(shared_nats.url, routes=[GREET], max_connections=2) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(2):
            _, writer = await stack.enter_async_context(open_connection(gateway))
            writer.write(HEAD + b"X-Request-Timeout: 30s\r\n\r\n")
        await eventually(lambda: gateway.link.in_flight == 2)
        async with open_connection(gateway) as (reader, writer):
            writer.write(HEAD + b"\r\n")
            answer = await read_all(reader)
            check_problem(answer, 503, "overloaded")
            assert b"retry-after: 1\r\n" in answer
        assert gateway.link.in_flight == 2
        floods = [await stack.enter_async_context(open_connection(gateway)) for _ in range(RESERVE + 20)]
        answers = await asyncio.gather(*(read_all(reader) for reader, _ in floods), return_exceptions=True)
        assert len(answers) == RESERVE + 20
        assert gateway.link.in_flight == 2


@pytest.fixture
def _few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_few_files")
def test_the_limit_of_open_files_is_raised_for_the_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert fit_connections(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400
    assert fit_connections(1000) == 1000
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1000 + RESERVE + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        assert fit_connections(hard + 1) == hard - RESERVE - OTHER_FILES


# Memory


LONG_UPLOAD = b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 20s\r\nContent-Length: 900000\r\n\r\n"


async def test_uploads_take_turns_in_memory_and_those_that_stall_give_way(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.uploads.GRACE", 0.3)

    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    async with (
        responder(shared_nats.url, "echo", echo),
        run_gateway(shared_nats.url, routes=[ECHO], max_buffered=1_850_000) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        bounds = gateway.bounds
        stalled = [await stack.enter_async_context(open_connection(gateway)) for _ in range(4)]
        for _, writer in stalled:
            writer.write(LONG_UPLOAD + b"x" * 100_000)
        await eventually(lambda: len(bounds.uploads._waiting) == 2)
        assert bounds.uploads.used == 1_800_000
        assert bounds.unparsed.used > 0
        # Each upload needs the memory of both stalled ones that hold some.
        uploads = [gateway.client.post("/echo", content=b"y" * 1_000_000) for _ in range(3)]
        answers = await asyncio.gather(*uploads, gateway.client.post("/echo", content=b"small"))
        assert [answer.status_code for answer in answers] == [200] * 4
        for reader, _ in stalled:
            check_problem(await read_all(reader), 503, "overloaded")
        await eventually(lambda: (bounds.uploads.used, bounds.unparsed.used) == (0, 0))


async def test_an_upload_that_gets_no_memory_before_its_deadline_is_overloaded(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO], max_buffered=1024 * 1024) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        opened = [await stack.enter_async_context(open_connection(gateway)) for _ in range(2)]
        opened[0][1].write(LONG_UPLOAD + b"x")
        await eventually(lambda: gateway.bounds.uploads.used)
        opened[1][1].write(LONG_UPLOAD.replace(b"20s", b"200ms") + b"x")
        check_problem(await read_all(opened[1][0]), 503, "overloaded")


async def test_what_waits_to_be_read_has_a_bound_over_all_connections(shared_nats: NatsServer) -> None:
    """Heads in pieces, of more connections than there is memory for."""
    async with (
        run_gateway(shared_nats.url, routes=[ECHO], max_buffered=1024 * 1024) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        opened = [await stack.enter_async_context(open_connection(gateway)) for _ in range(30)]
        for _, writer in opened:
            writer.write(HEAD + b"A: %b" % (b"x" * 60_000))
        unparsed = gateway.bounds.unparsed
        await eventually(lambda: unparsed.used > 900_000)
        assert unparsed.used <= unparsed.limit
        await eventually(
            lambda: sum(getattr(one, "lingers", False) for one in gateway.server.server_state.connections) > 10
        )
        assert (await gateway.get("/livez")).status_code == 200
    await eventually(lambda: unparsed.used == 0)


async def test_who_leaves_responses_unread_is_cut_off_once_they_are_too_many(shared_nats: NatsServer) -> None:
    async with (
        responder(shared_nats.url, "greet.*", replying(b"x" * 900_000)),
        run_gateway(shared_nats.url, routes=[GREET], max_buffered=2_000_000) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        held = gateway.bounds.unread
        for _ in range(6):
            _, writer = await stack.enter_async_context(open_connection(gateway))
            writer.write((HEAD + b"\r\n") * 30)
        await eventually(lambda: len(gateway.server.server_state.connections) <= 3)
        assert 0 < held._pot.used <= 2_000_000
        assert len((await gateway.get("/greet/sue")).content) == 900_000
    await eventually(lambda: held._pot.used == 0)
