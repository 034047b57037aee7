"""Who calls through a proxy: 127.0.0.1 is trusted, 127.0.0.2 is a stranger. The caller has an address in 192.0.2.0/24,
from which alone /guarded may be called; a stranger would like to have 192.0.2.66."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.requests import Request as PageRequest
from starlette.responses import Response as PageResponse

import app.http.handshakes
from app.edge.allow_from import AllowFrom
from app.edge.policy import AsyncCheck
from app.edge.request import Request
from app.errors import GatewayError
from app.http.lane import LaneName
from app.main import build_gateway
from app.observe.record import Observers, Record
from app.routing.routes import Route
from app.settings import Settings
from tests.harness import PATIENCE, Gateway, NatsServer, RawPeer, eventually, replying, responder, run_gateway

PROXY, STRANGER, CALLER, EVIL = "127.0.0.1", "127.0.0.2", "192.0.2.7", "192.0.2.66"
TRUSTING: dict[str, Any] = {"trusted_proxies": (PROXY, "10.0.0.0/8", "2001:db8::/32")}
ANNOUNCED: dict[str, Any] = {**TRUSTING, "proxy_protocol": True}
NAMES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-prefix", "X-Forwarded-Proto")


class Waiting:
    """A policy that lets everybody wait for a moment, so that the fast lane hands the request on."""

    fields: frozenset[bytes] = frozenset()
    errors: tuple[type[GatewayError], ...] = ()

    def check(self, _: Request) -> AsyncCheck:
        return lambda: asyncio.sleep(0)


GUARD = AllowFrom(["192.0.2.0/24"])
ROUTES = (
    Route(name="guarded", methods=("GET",), path="/guarded", subject="px.hi", policies=(GUARD,)),
    Route(name="waiting", methods=("GET",), path="/waiting", subject="px.hi", policies=(Waiting(), GUARD)),
    Route(name="told", methods=("GET", "POST"), path="/told", subject="px.told", headers=NAMES),
    Route(
        name="renamed",
        methods=("GET",),
        path="/renamed",
        subject="px.told",
        headers=("x-forwarded-for",),
        renamed=(("x-forwarded-for", "Client-Ip"),),
    ),
    Route(name="write", methods=("POST",), path="/write", subject="px.hi", policies=(GUARD,)),
    Route(name="slow", methods=("GET",), path="/slow", subject="px.slow", timeout=20.0, max_in_flight=100),
)


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: gw.example:80", *fields, "Connection: close", "", "")
    return "\r\n".join(lines).encode("latin-1")


async def send(gateway: Gateway, data: bytes, source: str = PROXY, *, size: int = 1 << 20) -> bytes:
    """All that comes back for these bytes, in pieces of this size, from this address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
    try:
        with contextlib.suppress(ConnectionResetError):  # it may be closed before the last piece
            for start in range(0, len(data), size):
                if reader.at_eof():
                    break
                writer.write(data[start : start + size])
                await writer.drain()
                if len(data) > size:
                    await asyncio.sleep(0.002)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        return b""
    finally:
        writer.close()


def find_status(answer: bytes) -> int:
    return int(answer[9:12] or 0)


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with a service behind it, and the records of its responses."""

    gateway: Gateway
    records: list[Record]

    async def ask(self, data: bytes, source: str = PROXY, *, size: int = 1 << 20) -> tuple[int, str | None]:
        """The status, and the address that its record has."""
        count = len(self.records)
        status = find_status(await send(self.gateway, data, source, size=size))
        await eventually(lambda: len(self.records) > count)
        return status, self.records[-1].peer


@contextlib.asynccontextmanager
async def run_stage(nats: NatsServer, **settings: Any) -> AsyncIterator[Stage]:
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    async with (
        responder(nats.url, "px.hi", replying(b"hi")),
        run_gateway(nats.url, routes=ROUTES, observers=observers, **settings) as gateway,
    ):
        yield Stage(gateway, records)


# Headers

F, XFF = "Forwarded: ", "X-Forwarded-For: "
HOSTILE: dict[str, tuple[list[str], int, str | None]] = {
    "nothing of a proxy": ([], 403, PROXY),
    "the caller's address": ([f"{XFF}{CALLER}"], 200, CALLER),
    "an address before that of the caller": ([f"{XFF}{EVIL}, 198.51.100.1"], 403, "198.51.100.1"),
    "an address in a field before": ([f"{XFF}{EVIL}", f"{XFF}198.51.100.1"], 403, "198.51.100.1"),
    "an address before trusted ones": ([f"{XFF}{EVIL}, 198.51.100.1, 10.0.0.9"], 403, "198.51.100.1"),
    "an address that is trusted, at the left": ([f"{XFF}{EVIL}, 10.0.0.9, 198.51.100.1"], 403, "198.51.100.1"),
    "an address before one in IPv6": ([f"{XFF}{EVIL}, [2a00::1]:443"], 403, "2a00::1"),
    "an address before unknown": ([f"{XFF}{EVIL}, unknown"], 403, None),
    "an address before garbage": ([f"{XFF}{EVIL}, <script>"], 403, None),
    "an address before bytes": ([f"{XFF}{EVIL}, \xff\xfe"], 403, None),
    "an address before a number": ([f"{XFF}{EVIL}, 3221226050"], 403, None),
    "an address with a tail": ([f"{XFF}{EVIL} 198.51.100.1"], 403, None),
    "an address with a zone": ([f"{XFF}{EVIL}, fe80::1%{EVIL}"], 403, None),
    "Forwarded that a proxy passed on": ([f"{F}for={EVIL}", f"{XFF}198.51.100.1"], 403, None),
    "X-Forwarded-For that a proxy passed on": ([f"{XFF}{EVIL}", f"{F}for=198.51.100.1"], 403, None),
    "both, and they agree": ([f"{F}for={CALLER}", f"{XFF}{CALLER}"], 200, CALLER),
    "an open quote": ([f'{F}for="{EVIL}', f"{F}for=198.51.100.1"], 403, "198.51.100.1"),
    "an open quote with a backslash": ([f'{F}for={EVIL};x="\\, for=198.51.100.1'], 403, "198.51.100.1"),
    "a host with parameters": ([f'{F}for=198.51.100.1;host="a, for={EVIL}"'], 403, "198.51.100.1"),
    "for, twice": ([f"{F}for={CALLER};for={EVIL}"], 403, None),
    "for, hidden": ([f"{F}for={EVIL}, for=_x"], 403, None),
    "for, in another field of another name": ([f"X_Forwarded_For: {EVIL}", f"X-Real-Ip: {EVIL}"], 403, PROXY),
    "for, as nominated": ([f"{XFF}198.51.100.1", "Connection: X-Forwarded-For"], 403, "198.51.100.1"),
    "commas without end": ([XFF + EVIL + "," * 60_000], 403, PROXY),
    "quotes without end": ([f"{F}for={EVIL}" + '"' * 60_000], 403, None),
    "trusted ones without end": ([XFF + EVIL + ", 10.0.0.9" * 5_000], 403, "10.0.0.9"),
    "fields without end": ([f"{XFF}{EVIL}"] * 200 + [f"{XFF}198.51.100.1"], 403, "198.51.100.1"),
}


async def test_of_what_trusted_proxies_say_nothing_is_believed_that_a_stranger_wrote(shared_nats: NatsServer) -> None:
    async with run_stage(shared_nats, **TRUSTING) as stage:
        for name, (fields, status, peer) in HOSTILE.items():
            for path in ("/guarded", "/waiting"):
                assert await stage.ask(get(path, *fields)) == (status, peer), name


async def test_what_anybody_else_says_is_not_believed_at_all(shared_nats: NatsServer) -> None:
    async with run_stage(shared_nats, **TRUSTING) as stage:
        for name, (fields, _, _) in HOSTILE.items():
            assert await stage.ask(get("/guarded", *fields), STRANGER) == (403, STRANGER), name
    async with run_stage(shared_nats) as stage:
        assert await stage.ask(get("/guarded", f"{XFF}{CALLER}", f"{F}for={CALLER}")) == (403, PROXY)


@pytest.mark.parametrize("path", ["/nowhere", "/livez", "/docs", "/problems/nothing", "/status", "/told", "/slow%2f%"])
async def test_every_record_has_the_address_of_the_caller(shared_nats: NatsServer, path: str) -> None:
    async with run_stage(shared_nats, **TRUSTING) as stage:
        assert (await stage.ask(get(path, f"{XFF}{CALLER}")))[1] == CALLER
        assert (await stage.ask(get(path, f"{XFF}{CALLER}", method="OPTIONS")))[1] == CALLER


async def test_a_body_that_waits_for_a_100_has_the_caller_s_address_as_well(shared_nats: NatsServer) -> None:
    fields = (f"{XFF}{CALLER}", "Expect: 100-continue", "Content-Length: 2")
    async with run_stage(shared_nats, **TRUSTING) as stage:
        answer = await send(stage.gateway, get("/write", *fields, method="POST") + b"hi")
        assert answer.count(b"HTTP/1.1 200 ") == 1
        await eventually(lambda: stage.records)
        assert stage.records[-1].peer == CALLER


async def test_callers_that_share_a_connection_are_told_apart(shared_nats: NatsServer) -> None:
    one, other = get("/guarded", f"{XFF}{CALLER}"), get("/guarded", f"{XFF}198.51.100.1")
    data = b"".join(part.replace(b"Connection: close\r\n", b"") for part in (one, other, get("/guarded")))
    async with run_stage(shared_nats, **TRUSTING) as stage:
        answer = await send(stage.gateway, data + b"NO HTTP\r\n\r\n")
        assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 403, 403, 400]
        await eventually(lambda: len(stage.records) == 4)
        assert [record.peer for record in stage.records] == [CALLER, "198.51.100.1", PROXY, PROXY]


async def test_requests_in_flight_are_counted_for_each_caller_and_those_who_are_not_known_together(
    shared_nats: NatsServer,
) -> None:
    settings = {**TRUSTING, "max_in_flight_per_caller": 1}
    async with RawPeer.connect(shared_nats.url, "px.slow"), run_stage(shared_nats, **settings) as stage:
        asked = []
        for said in (CALLER, "198.51.100.1", "unknown", "2a00::1"):
            asked.append(asyncio.create_task(send(stage.gateway, get("/slow", XFF + said))))
            await eventually(lambda: stage.gateway.link.in_flight == len(asked))
        for said in (CALLER, "198.51.100.1", "garbage", "2a00::2"):
            assert find_status(await send(stage.gateway, get("/slow", XFF + said))) == 503
        for task in asked:
            task.cancel()


async def test_behind_middleware_the_caller_is_the_same(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    settings = Settings.model_validate({"nats_url": (shared_nats.url,), **TRUSTING})
    parts = build_gateway(settings, routes=ROUTES, observers=Observers(other=(records.append,)))

    @parts.app.middleware("http")
    async def pass_on(request: PageRequest, call_next: Any) -> PageResponse:
        response: PageResponse = await call_next(request)
        return response

    for address, status, peer in ((PROXY, 404, CALLER), (STRANGER, 404, STRANGER)):
        transport = httpx.ASGITransport(parts.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.get("/nowhere", headers={"x-forwarded-for": CALLER})).status_code == status
            assert records.pop().peer == peer


# What the service gets

LIES = [
    f"X-Forwarded-For: {EVIL}, 2a00::1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
    "X-Forwarded-Prefix: /shop",
]


async def ask_service(
    gateway: Gateway, peer: RawPeer, path: str, *fields: str, source: str = PROXY, before: bytes = b""
) -> dict[str, str]:
    """The headers that the service gets."""
    asking = asyncio.create_task(send(gateway, before + get(path, *fields), source))
    message = await peer.next()
    peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
    assert find_status(await asking) == 200
    lines = message.headers.decode().split("\r\n")[1:-2]
    assert len(lines) == len({line.partition(":")[0].lower() for line in lines})
    return dict(line.split(": ", 1) for line in lines)


async def test_a_service_gets_the_truth_in_headers_of_proxies_and_nothing_that_a_caller_wrote(
    shared_nats: NatsServer,
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.told") as peer,
        run_gateway(shared_nats.url, routes=ROUTES, root_path="/api", **TRUSTING) as gateway,
    ):
        for lies in ([], LIES, [*LIES, f"Forwarded: for={EVIL}", f"Connection: {', '.join(NAMES)}"]):
            assert await ask_service(gateway, peer, "/told", *lies, source=STRANGER) == {
                "Forwarded": 'for=127.0.0.2;proto=http;host="gw.example:80"',
                "X-Forwarded-For": STRANGER,
                "X-Forwarded-Host": "gw.example:80",
                "x-forwarded-prefix": "/api",
                "X-Forwarded-Proto": "http",
            }
        assert await ask_service(gateway, peer, "/told", *LIES) == {
            "Forwarded": 'for="[2a00::1]";proto=https;host=shop.example',
            "X-Forwarded-For": "2a00::1",
            "X-Forwarded-Host": "shop.example",
            "x-forwarded-prefix": "/shop",
            "X-Forwarded-Proto": "https",
        }
        told = await ask_service(gateway, peer, "/told", "X-Forwarded-For: unknown")
        assert (told["Forwarded"].split(";")[0], "X-Forwarded-For" in told) == ("for=unknown", False)
        assert await ask_service(gateway, peer, "/renamed", *LIES) == {"Client-Ip": "2a00::1"}
        assert await ask_service(gateway, peer, "/renamed", f"Client-Ip: {EVIL}") == {"Client-Ip": PROXY}


async def test_a_service_that_gets_a_body_gets_the_truth_as_well(shared_nats: NatsServer) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.told") as peer,
        run_gateway(shared_nats.url, routes=ROUTES, **TRUSTING) as gateway,
    ):
        data = get("/told", XFF + CALLER, "Content-Length: 2", method="POST") + b"hi"
        asking = asyncio.create_task(send(gateway, data))
        message = await peer.next()
        assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in message.headers
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
        assert find_status(await asking) == 200


async def test_a_gateway_without_proxies_tells_the_truth_as_well(shared_nats: NatsServer) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.told") as peer,
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        told = await ask_service(gateway, peer, "/told", *LIES)
        assert told == {
            "Forwarded": 'for=127.0.0.1;proto=http;host="gw.example:80"',
            "X-Forwarded-For": PROXY,
            "X-Forwarded-Host": "gw.example:80",
            "X-Forwarded-Proto": "http",
        }


async def test_a_request_without_any_header_has_its_address_told(shared_nats: NatsServer) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.told") as peer,
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        asking = asyncio.create_task(send(gateway, b"GET /renamed HTTP/1.0\r\n\r\n"))
        message = await peer.next()
        assert message.headers == b"NATS/1.0\r\nClient-Ip: 127.0.0.1\r\n\r\n"
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
        assert find_status(await asking) == 200


# The PROXY protocol

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes((192, 0, 2, 7, 10, 0, 0, 1)) + b"\x12\x67\x00\x50"
V6 = bytes.fromhex("2a00" + "00" * 13 + "01") * 2 + b"\x12\x67\x00\x50"


def line(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


def binary(command: int, kind: int, body: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, kind)) + (len(body) if size is None else size).to_bytes(2) + body


HERE = line("TCP4 192.0.2.7 10.0.0.1 4711 80")
ANNOUNCEMENTS: dict[str, tuple[bytes, list[str], int, str | None]] = {
    "a caller, in version 1": (HERE, [], 200, CALLER),
    "a caller, in version 2": (binary(0x21, 0x11, V4), [], 200, CALLER),
    "a caller with TLVs": (binary(0x21, 0x11, V4 + bytes(4000)), [], 200, CALLER),
    "a caller in IPv6": (binary(0x21, 0x21, V6), [], 403, "2a00::1"),
    "a caller who claims another address": (HERE, [f"{XFF}{EVIL}", f"{F}for={EVIL}"], 200, CALLER),
    "a stranger who claims another address": (
        line("TCP4 198.51.100.1 10.0.0.1 1 2"),
        [XFF + EVIL],
        403,
        "198.51.100.1",
    ),
    "a trusted proxy who names its caller": (line("TCP4 10.0.0.9 10.0.0.1 1 2"), [XFF + CALLER], 200, CALLER),
    "an unknown one who claims an address": (line("UNKNOWN"), [XFF + EVIL], 403, None),
    "unknown with an address": (line(f"UNKNOWN {EVIL} 10.0.0.1 1 2"), [], 403, None),
    "a Unix socket": (binary(0x21, 0x31, bytes(216)), [XFF + EVIL], 403, None),
    "no family": (binary(0x21, 0x00), [XFF + EVIL], 403, None),
    "the proxy itself": (binary(0x20, 0x00), [], 403, PROXY),
    "the proxy itself, with an address": (binary(0x20, 0x11, V4), [], 403, PROXY),
    "no header": (b"", [XFF + CALLER], 400, PROXY),
    "a space before it": (b" " + HERE, [], 400, PROXY),
    "an empty line before it": (b"\r\n" + HERE, [], 400, PROXY),
    "two headers": (HERE + line(f"TCP4 {EVIL} 10.0.0.1 1 2"), [], 400, CALLER),
    "one of each version": (binary(0x21, 0x11, V4) + HERE, [], 400, CALLER),
    "small letters": (HERE.lower(), [], 400, PROXY),
    "an address of another family": (line("TCP6 192.0.2.7 10.0.0.1 1 2"), [], 400, PROXY),
    "a line that ends in LF": (HERE.replace(b"\r", b""), [], 400, PROXY),
    "a line without end": (b"PROXY UNKNOWN " + b"x" * 60_000, [], 400, PROXY),
    "a port too high": (line("TCP4 192.0.2.7 10.0.0.1 65536 80"), [], 400, PROXY),
    "another version": (binary(0x31, 0x11, V4), [], 400, PROXY),
    "another command": (binary(0x22, 0x11, V4), [], 400, PROXY),
    "another family": (binary(0x21, 0x41, bytes(300)), [], 400, PROXY),
    "too short for its family": (binary(0x21, 0x21, V4), [], 400, PROXY),
    "the longest": (binary(0x21, 0x11, V4, size=0xFFFF), [], 400, PROXY),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [], 400, PROXY),
}


async def test_a_trusted_proxy_says_at_the_beginning_of_a_connection_who_calls(shared_nats: NatsServer) -> None:
    async with run_stage(shared_nats, **ANNOUNCED) as stage:
        for name, (header, fields, status, peer) in ANNOUNCEMENTS.items():
            data = header + get("/guarded", *fields)
            assert await stage.ask(data) == (status, peer), name
            size = len(header) // 3 + 1
            assert await stage.ask(data, size=size) == (status, peer), f"{name}, in pieces of {size}"


async def test_nobody_else_can_say_it(shared_nats: NatsServer) -> None:
    async with run_stage(shared_nats, **ANNOUNCED) as stage:
        assert await stage.ask(get("/guarded", XFF + EVIL), STRANGER) == (403, STRANGER)
        for name, (header, _, _, _) in ANNOUNCEMENTS.items():
            if header:
                assert await stage.ask(header + get("/guarded"), STRANGER) == (400, STRANGER), name
    async with run_stage(shared_nats, **TRUSTING) as stage:
        assert await stage.ask(HERE + get("/guarded")) == (400, PROXY)


async def test_the_header_may_come_byte_by_byte_and_all_requests_of_the_connection_are_the_caller_s(
    shared_nats: NatsServer,
) -> None:
    request = get("/guarded").replace(b"Connection: close\r\n", b"")
    async with run_stage(shared_nats, **ANNOUNCED) as stage:
        for header in (HERE, binary(0x21, 0x11, V4)):
            answer = await send(stage.gateway, header + request + get("/guarded"), size=1)
            assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_a_service_learns_who_is_behind_the_proxy(shared_nats: NatsServer) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.told") as peer,
        run_gateway(shared_nats.url, routes=ROUTES, **ANNOUNCED) as gateway,
    ):
        told = await ask_service(gateway, peer, "/told", *LIES, before=HERE)
        assert (told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == (CALLER, "http")
        told = await ask_service(gateway, peer, "/told", *LIES, before=line("UNKNOWN"))
        assert told["Forwarded"].startswith("for=unknown;proto=http;")
        assert "x-forwarded-prefix" not in told


async def test_callers_whom_the_proxy_does_not_know_count_as_one(shared_nats: NatsServer) -> None:
    settings = {**ANNOUNCED, "max_in_flight_per_caller": 1}
    async with RawPeer.connect(shared_nats.url, "px.slow"), run_stage(shared_nats, **settings) as stage:
        asked = asyncio.create_task(send(stage.gateway, line("UNKNOWN") + get("/slow")))
        await eventually(lambda: stage.gateway.link.in_flight == 1)
        assert find_status(await send(stage.gateway, line("UNKNOWN") + get("/slow"))) == 503
        asked.cancel()


@pytest.mark.parametrize("beginning", [b"", b"PROXY TCP4 ", SIGNATURE, binary(0x21, 0x11, V4, size=4000)])
async def test_a_header_that_does_not_come_in_time_ends_the_connection(
    shared_nats: NatsServer, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.http.handshakes, "HANDSHAKE_TIMEOUT", 0.2)
    async with run_stage(shared_nats, **ANNOUNCED) as stage:
        assert await send(stage.gateway, beginning) == b""
        assert (await stage.ask(HERE + get("/guarded")))[0] == 200
        await eventually(lambda: not len(stage.gateway.bounds.handshakes))


async def test_a_connection_over_the_cap_is_refused_behind_its_header(shared_nats: NatsServer, lane: LaneName) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "px.slow"),
        run_stage(shared_nats, max_connections=1, **ANNOUNCED) as stage,
    ):
        asked = asyncio.create_task(send(stage.gateway, HERE + get("/slow")))
        await eventually(lambda: stage.gateway.link.in_flight == 1)
        assert find_status(await send(stage.gateway, HERE + get("/guarded"))) == 503
        asked.cancel()
