"""A server that says what can't be: it costs its own connection, and nothing waits for it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partialmethod

import pytest
from structlog.testing import capture_logs

from app.nats.connection import MOST_SERVERS, Connection
from app.nats.dialer import MOST_LOGGED
from app.nats.inbox import TOO_LARGE
from app.nats.link import Link
from app.nats.parser import STEP, WireParser
from tests.harness import PATIENCE, eventually

Tell = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def run_liar(lie: bytes, go_on: Tell | None = None, *, to_all: bool = False) -> AsyncIterator[str]:
    """The address of a server that says this to its first client, or to all, `@` being the inbox, and then what `go_on`
    writes."""
    told = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal told
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true}\r\n')
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
                if line.startswith(b"SUB") and not told:
                    told = not to_all
                    writer.write(lie.replace(b"@", line.split()[1].removesuffix(b"*")))
                    if go_on is not None:
                        await go_on(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "lie",
    [
        b"MSG @0123456789abcdef 1 999999999\r\n",
        b"HMSG @0123456789abcdef 1 12 999999999\r\n",
        b"MSG @0123456789abcdef 1 99999999999\r\n",
        b"HMSG @heartbeat 1 12 999999999\r\n",
        b"MSG other 1 99999999999\r\nxx",
    ],
)
async def test_a_message_larger_than_any_can_be_ends_the_connection_at_once(lie: bytes) -> None:
    with capture_logs() as logs:
        async with run_liar(lie) as url, Link([url], max_in_flight=1):
            await eventually(lambda: [entry for entry in logs if entry["event"] == "disconnected"])
    assert {entry["reason"] for entry in logs if entry["event"] == "disconnected"} == {TOO_LARGE}


@pytest.mark.parametrize(
    "lie",
    [
        b"MSG @0123456789abcdef 1 1\r\nhi\r\n",
        b"MSG @heartbeat 1 1\r\nhi\r\n+OK\r\n",
        b"XYZ\r\n",
        b"MSG " + b"x" * 10_000 + b"\r\n",
        b"MSG " + b"x" * 200_000,
        b"\x00" * 100 + b"\r\n",
    ],
)
async def test_what_is_none_of_the_protocol_ends_the_connection_at_once(lie: bytes) -> None:
    with capture_logs() as logs:
        async with run_liar(lie) as url, Link([url], max_in_flight=1):
            await eventually(lambda: [entry for entry in logs if entry["event"] == "disconnected"])
    reasons = {entry["reason"] for entry in logs if entry["event"] == "disconnected"}
    assert not [reason for reason in reasons if "heartbeat" in reason]


async def dribble(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


NEVER_ENDING = [b"MSG @0123456789abcdef 1 1000000\r\n", b"MSG @heartbeat 1 1000000\r\n", b"INFO {"]


@pytest.mark.parametrize("lie", NEVER_ENDING)
async def test_a_message_that_never_ends_is_no_sign_of_life(lie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.nats.connection.LONGEST_MESSAGE", 0.5)
    monkeypatch.setattr("app.nats.link.HEARTBEAT_INTERVAL", 0.2)
    with capture_logs() as logs:
        async with run_liar(lie, dribble) as url, Link([url], max_in_flight=1):
            await eventually(lambda: [entry for entry in logs if entry["event"] == "disconnected"], 4)
    (reason,) = {entry["reason"] for entry in logs if entry["event"] == "disconnected"}
    assert reason.startswith("no answer to a heartbeat")


@pytest.mark.parametrize("lie", NEVER_ENDING)
async def test_a_message_that_is_slow_to_come_is_a_sign_of_life(lie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.nats.link.HEARTBEAT_INTERVAL", 0.2)
    async with run_liar(lie, dribble) as url, Link([url], max_in_flight=1) as link:
        await eventually(lambda: link.reason is None)
        connection = link._connection
        await asyncio.sleep(1.5)
        assert link._connection is connection


async def test_a_server_that_is_stuck_is_left_though_its_kernel_takes_all_that_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over a network, where each byte waits for a while until the other side's kernel has it."""
    monkeypatch.setattr("app.nats.link.HEARTBEAT_INTERVAL", 0.2)
    sent = time.monotonic()

    def publish_heartbeat(self: Connection, publish: Callable[[Connection], None]) -> None:
        nonlocal sent
        sent = time.monotonic()
        publish(self)

    monkeypatch.setattr(Connection, "publish_heartbeat", partialmethod(publish_heartbeat, Connection.publish_heartbeat))
    monkeypatch.setattr(Connection, "_count_waiting", lambda _: 30 if time.monotonic() - sent < 0.05 else 0)
    with capture_logs() as logs:
        async with run_liar(b"") as url, Link([url], max_in_flight=1):
            await eventually(lambda: [entry for entry in logs if entry["event"] == "disconnected"], 4)


# Floods

FLOODS = {
    "lame duck": b'INFO {"ldm":true}\r\n',
    "INFO": b"INFO {}\r\n",
    "connect URLs": b'INFO {"connect_urls":["127.0.0.1:1","[::1]:2","x:y",7]}\r\n',
    "denials": b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n",
}


@pytest.mark.parametrize("line", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_lines_lets_the_loop_go_on_and_is_summed_up(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in bytes of the flood that are done with between two turns of the loop."""
    parsed: dict[WireParser, int] = {}
    parse = WireParser.parse

    async def note(self: WireParser, data: bytes = b"") -> None:
        parsed.setdefault(self, 0)
        await parse(self, data)

    async def flood(writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            writer.write(line * (100_000 // len(line)))
            await writer.drain()

    monkeypatch.setattr(WireParser, "parse", note)
    most = 0
    end = time.monotonic() + PATIENCE
    with capture_logs() as logs:
        async with run_liar(b"", flood, to_all=True) as url, Link([url], max_in_flight=1):
            while sum(parsed.values()) < 300_000 and time.monotonic() < end:
                await asyncio.sleep(0)
                for parser, before in parsed.items():
                    most = max(most, parser.parsed - before)
                    parsed[parser] = parser.parsed
    assert sum(parsed.values()) >= 300_000
    assert most <= 2 * STEP
    assert len(logs) < 30


def is_open(port: int) -> bool:
    """Whether something listens there, be it no NATS server: to connect to it would take as long as that likes."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_servers_that_a_server_tells_of_are_bounded_and_so_are_lines_about_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.nats.dialer.STAGGER", 0.0)
    urls = [f'"127.0.0.1:{port}"' for port in range(1, 3000) if not is_open(port)]
    info = b'INFO {"connect_urls":[%b]}\r\n' % ",".join(urls).encode()

    async def leave(writer: asyncio.StreamWriter) -> None:
        for start in range(0, 2500, 500):  # each line tells of others
            writer.write(b'INFO {"connect_urls":[%b]}\r\n' % ",".join(urls[start : start + 500]).encode())
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    with capture_logs() as logs:
        # Again and again, as by chance the one that is there may be found before many that are not.
        async with run_liar(info, leave, to_all=True) as url, Link([url], max_in_flight=1) as link:
            await eventually(lambda: link._connection and link._connection.servers)
            connection = link._connection
            assert connection is not None
            await eventually(lambda: [entry for entry in logs if entry["event"] == "disconnected"])
            assert len(connection.servers) <= MOST_SERVERS
            assert len(connection._client._server_pool) == 1
            await eventually(lambda: [entry for entry in logs if entry.get("count")])
            assert len(link._dialer._known) <= MOST_SERVERS + 2
    told = [entry for entry in logs if entry["event"] == "connect-failed" and not entry.get("count")]
    assert len(told) <= MOST_LOGGED
