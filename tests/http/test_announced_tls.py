"""The PROXY protocol in front of TLS: 127.0.0.1 is trusted, 127.0.0.2 is a stranger. Who calls is known by the header,
whom it has proved to be by its certificate."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import app.http.handshakes
import tests.harness
from app.edge.policy import AsyncCheck
from app.edge.request import Caller, Request
from app.errors import GatewayError
from app.main import build_gateway
from app.routing.routes import Route
from app.settings import Settings
from tests.certificates import Authority
from tests.harness import PATIENCE, Gateway, NatsServer, eventually, replying, responder, serve
from tests.http.test_behind_proxies import (
    ANNOUNCED,
    ANNOUNCEMENTS,
    CALLER,
    EVIL,
    HERE,
    PROXY,
    SIGNATURE,
    STRANGER,
    V4,
    XFF,
    binary,
    find_status,
    get,
    line,
    send,
)

BINARY = binary(0x21, 0x11, V4)


@dataclass
class Noting:
    """A policy that notes callers."""

    fields: frozenset[bytes] = frozenset()
    errors: tuple[type[GatewayError], ...] = ()
    seen: list[Caller] = field(default_factory=list)

    def check(self, request: Request) -> AsyncCheck | None:
        self.seen.append(request.caller)
        return None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def run(nats: NatsServer, authority: Authority, **settings: Any) -> AsyncIterator[tuple[Gateway, list[Caller]]]:
    """A gateway, and who has called its only route."""
    noting = Noting()
    route = Route(name="guarded", methods=("GET",), path="/guarded", subject="ptls.hi", policies=(noting,))
    files = {**authority.write(), **authority.write_client_ca()}
    values = Settings.model_validate({"nats_url": (nats.url,), **files, **ANNOUNCED, **settings})
    parts = build_gateway(values, routes=[route])
    async with (
        responder(nats.url, "ptls.hi", replying(b"hi")),
        serve(parts, lane=tests.harness.LANE, tls=authority.trust()) as gateway,
    ):
        await gateway.wait_until_ready()
        yield gateway, noting.seen


async def ask(
    gateway: Gateway, before: bytes, tls: ssl.SSLContext, request: bytes, source: str = PROXY, *, size: int = 1 << 20
) -> bytes:
    """The answer, or all that came instead of a handshake. `before` comes in one piece with the ClientHello, or all of
    it in pieces of this size."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
    received, answer, is_done = b"", b"", False
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    if not is_done:
                        client.do_handshake()
                        is_done = True
                        client.write(request)
                    while piece := client.read():
                        answer += piece
                    return answer
                data, before = before + outgoing.read(), b""
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    if writer.is_closing():
                        break
                    await asyncio.sleep(0.001 if len(data) > size else 0)
                came = await reader.read(1 << 16)
                received += came
                if not came:
                    return answer or received
                incoming.write(came)
    except ssl.SSLError:
        return received + await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_trusted_proxy_says_before_the_handshake_who_calls(
    shared_nats: NatsServer, authority: Authority
) -> None:
    tls = authority.trust()
    async with run(shared_nats, authority) as (gateway, seen):
        for name, (header, fields, status, peer) in ANNOUNCEMENTS.items():
            for size in (1 << 20, len(header) // 3 + 1):
                seen.clear()
                answer = await ask(gateway, header, tls, get("/guarded", *fields), size=size)
                if status == 400:
                    assert not answer or answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain"), (
                        name
                    )
                    assert not seen, name
                else:
                    assert find_status(answer) == 200, name
                    assert [(caller.address, caller.scheme) for caller in seen] == [(peer, "https")], name
        await eventually(lambda: not len(gateway.bounds.handshakes))


async def test_nobody_else_can_say_it(shared_nats: NatsServer, authority: Authority) -> None:
    tls = authority.trust()
    async with run(shared_nats, authority) as (gateway, seen):
        assert find_status(await ask(gateway, b"", tls, get("/guarded", XFF + EVIL), STRANGER)) == 200
        assert [(caller.address, caller.peer) for caller in seen] == [(STRANGER, None)]
        for name, (header, _, _, _) in ANNOUNCEMENTS.items():
            if header:
                await ask(gateway, header, tls, get("/guarded"), STRANGER)
                assert len(seen) == 1, name


async def test_both_the_address_and_the_certificate_of_a_caller_are_known(
    shared_nats: NatsServer, authority: Authority
) -> None:
    tls = authority.trust(authority.ca.issue_cert("sue@example.org"))
    async with run(shared_nats, authority) as (gateway, seen):
        through = line("TCP4 10.0.0.9 10.0.0.1 1 2")
        for header, request in ((BINARY, get("/guarded")), (through, get("/guarded", XFF + CALLER))):
            assert find_status(await ask(gateway, header, tls, request)) == 200
    known, forwarded = seen
    assert known.certificate is not None
    assert (known.address, known.peer, known.certificate.alternatives) == (
        CALLER,
        PROXY,
        (("email", "sue@example.org"),),
    )
    assert (forwarded.address, forwarded.peer, forwarded.certificate) == (CALLER, "10.0.0.9", None)


async def test_the_header_and_the_handshake_may_come_byte_by_byte(
    shared_nats: NatsServer, authority: Authority
) -> None:
    async with run(shared_nats, authority) as (gateway, seen):
        assert find_status(await ask(gateway, HERE, authority.trust(), get("/guarded"), size=1)) == 200
    assert [caller.address for caller in seen] == [CALLER]


async def test_who_sends_a_wrong_header_is_told_so_in_plain_text(shared_nats: NatsServer, authority: Authority) -> None:
    async with run(shared_nats, authority) as (gateway, _):
        for data in (get("/guarded"), b"PROXY TCP4 x\r\n"):
            assert (await send(gateway, data)).startswith(b"HTTP/1.1 400 ")
        assert (await send(gateway, HERE + get("/guarded"))).endswith(b"This port takes requests over HTTPS.\n")
        assert (await send(gateway, get("/guarded"))).endswith(
            b"\r\n\r\nThe connection does not begin with a header of the PROXY protocol.\n"
        )


@pytest.mark.parametrize("beginning", [b"", b"PROXY TCP4 ", SIGNATURE, BINARY, BINARY + b"\x16\x03"])
async def test_a_header_or_a_handshake_that_does_not_come_in_time_ends_the_connection(
    shared_nats: NatsServer, authority: Authority, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.http.handshakes, "HANDSHAKE_TIMEOUT", 0.2)
    async with run(shared_nats, authority) as (gateway, _):
        assert await send(gateway, beginning) == b""
        await eventually(lambda: not len(gateway.bounds.handshakes))


async def test_connections_without_a_header_take_no_place_from_others(
    shared_nats: NatsServer, authority: Authority
) -> None:
    """Half of them send nothing, half of them the beginning of a header."""
    async with run(shared_nats, authority, max_connections=100) as (gateway, _):
        hostile = []
        for number in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(SIGNATURE if number % 2 else b"")
            hostile.append(writer)
        await eventually(lambda: 0 < len(gateway.bounds.handshakes) <= 100 + app.http.handshakes.ROOM)
        assert find_status(await ask(gateway, BINARY, authority.trust(), get("/guarded"))) == 200
        for writer in hostile:
            writer.close()
        await eventually(lambda: not len(gateway.bounds.handshakes))
