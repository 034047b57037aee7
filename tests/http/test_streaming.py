"""A response whose body comes in parts, over a real socket. No route makes one yet: these relays do."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

import tests.harness
from app.edge.request import Request
from app.exchange.outbound import Begun, Streaming
from app.exchange.responses import Fields, Response
from app.main import build_gateway
from app.observe.record import Observers, Record
from app.settings import Settings
from tests.harness import Gateway, NatsServer, eventually, serve

HEAD = Fields(((b"content-type", b"text/plain"),))


class Source:
    """Parts that come when a test says so."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_closed = False

    async def give(self) -> AsyncGenerator[bytes, None]:
        try:
            while (part := await self.parts.get()) is not None:
                if part == b"bug":
                    raise RuntimeError("a bug")
                yield part
        finally:
            self.is_closed = True


class Streams:
    """A gateway that answers /stream with what `source` gives, and the records of that."""

    def __init__(self, gateway: Gateway, source: Source, records: list[Record]) -> None:
        self.gateway = gateway
        self.source = source
        self.records = records

    async def open(self, method: bytes = b"GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(b"%b /stream HTTP/1.1\r\nHost: t\r\n\r\n" % method)
        return reader, writer

    async def describe(self) -> tuple[str | None, int, bool, int, str]:
        """The one record of it."""
        await eventually(lambda: bool(self.records))
        (record,) = self.records
        return record.route, record.status, record.is_written, record.bytes_out, record.lane


async def pass_on(request: HttpRequest, call_next: RequestResponseEndpoint) -> HttpResponse:
    return await call_next(request)


@pytest.fixture(params=[False, True], ids=["", "behind-middleware"])
async def streams(shared_nats: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Streams]:
    async with run_streams(shared_nats, with_middleware=request.param) as streams:
        yield streams


@asynccontextmanager
async def run_streams(nats: NatsServer, *, with_middleware: bool) -> AsyncIterator[Streams]:
    records: list[Record] = []
    source = Source()
    observers = Observers(failure=(records.append,), other=(records.append,))
    parts = build_gateway(Settings(nats_url=(nats.url,)), observers=observers)
    if with_middleware:
        parts.app.add_middleware(CORSMiddleware, allow_origins=["*"])
        parts.app.middleware("http")(pass_on)
    begin = parts.relay.begin

    def begin_or_stream(request: Request) -> Begun:
        if request.path != b"/stream":
            return begin(request)
        response = Response(200, HEAD, b"", request_id=b"r1", route="stream", delivered="yes")
        return Streaming(response=response, parts=source.give())

    parts.relay.begin = begin_or_stream  # type: ignore[method-assign]
    lane = None if with_middleware else tests.harness.LANE
    async with serve(parts, lane=lane) as gateway:
        yield Streams(gateway, source, records)


async def test_each_part_goes_out_at_once_and_the_end_is_told(streams: Streams) -> None:
    reader, writer = await streams.open()
    streams.source.parts.put_nowait(b"one")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert (b"transfer-encoding: chunked\r\n" in head, b"x-request-id: r1\r\n" in head) == (True, True)
    assert await reader.readexactly(8) == b"3\r\none\r\n"
    await asyncio.sleep(0.2)  # longer than the lane waits before it looks whether its caller has gone
    assert not streams.records
    streams.source.parts.put_nowait(b"second")
    assert await reader.readexactly(11) == b"6\r\nsecond\r\n"
    streams.source.parts.put_nowait(None)
    assert await reader.readexactly(5) == b"0\r\n\r\n"
    assert await streams.describe() == ("stream", 200, True, 9, "asgi")
    assert streams.source.is_closed
    writer.write(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")  # the connection lives on
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_caller_who_leaves_ends_it(streams: Streams) -> None:
    reader, writer = await streams.open()
    streams.source.parts.put_nowait(b"one")
    await reader.readuntil(b"one\r\n")
    writer.transport.abort()
    streams.source.parts.put_nowait(b"two")  # to a caller that has only closed its sending half it would come
    assert await streams.describe() == ("stream", 200, False, 6, "asgi")
    assert streams.source.is_closed


async def test_a_bug_cuts_the_body_off_so_that_it_looks_like_no_whole_one(streams: Streams) -> None:
    reader, writer = await streams.open()
    streams.source.parts.put_nowait(b"one")
    await reader.readuntil(b"one\r\n")
    streams.source.parts.put_nowait(b"bug")
    assert await reader.read() == b""
    assert await streams.describe() == ("stream", 200, False, 3, "asgi")
    assert (await streams.gateway.get("/livez")).status_code == 200
    writer.close()


async def test_head_has_no_parts(shared_nats: NatsServer) -> None:
    async with run_streams(shared_nats, with_middleware=False) as streams:
        reader, writer = await streams.open(b"HEAD")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await streams.describe() == ("stream", 200, True, 0, "asgi")
        writer.write(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_caller_who_reads_nothing_holds_up_only_its_own(streams: Streams) -> None:
    _, writer = await streams.open()
    for _ in range(100):
        streams.source.parts.put_nowait(bytes(100_000))
    await asyncio.sleep(0.3)
    assert streams.source.parts.qsize() > 0, "all 10 MB were taken, though nobody reads them"
    assert (await streams.gateway.get("/livez")).status_code == 200
    writer.transport.abort()
    await eventually(lambda: streams.source.is_closed)
