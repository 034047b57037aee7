"""What waits for a server that reads, slowly or not at all, over a real socket."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvloop
from structlog.testing import capture_logs

from app.nats.outgoing import PATIENT_LOOKS, Outgoing
from tests.harness import eventually

BODY = b"x" * 100_000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.nats.outgoing.MAX_BACKLOG", 500_000)
    monkeypatch.setattr("app.nats.outgoing.LOOK_INTERVAL", 0.02)


class Way(asyncio.Protocol):
    def __init__(self, outgoing: Outgoing) -> None:
        self.resume_writing = outgoing.look  # type: ignore[assignment]


@dataclass
class Scene:
    """What is sent, and the other end of the socket, which is read when the test says so."""

    outgoing: Outgoing
    there: socket.socket
    refused: list[bytes]
    told: list[bytes] = field(default_factory=list)

    def publish(self, number: int, payload: bytes = BODY) -> bytes:
        token = b"%016d" % number
        self.outgoing.publish(b"s", token, b"", payload, lambda: self.told.append(token))
        return token

    async def read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            data += await asyncio.wait_for(loop.sock_recv(self.there, size - len(data)), 10)
        return bytes(data)


@contextlib.asynccontextmanager
async def run_scene() -> AsyncIterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    for end in (here, there):
        end.setblocking(False)
    refused: list[bytes] = []
    outgoing = Outgoing(b"_INBOX.", refused=refused.append)
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: Way(outgoing), sock=here)
    outgoing.open(transport, None)
    try:
        yield Scene(outgoing, there, refused)
    finally:
        transport.abort()
        outgoing.close()
        there.close()


def expect(token: bytes, payload: bytes = BODY) -> bytes:
    return b"PUB s _INBOX.%b %d\r\n%b\r\n" % (token, len(payload), payload)


async def test_a_burst_that_is_larger_than_the_backlog_arrives_whole_and_in_order() -> None:
    async with run_scene() as scene:
        tokens = [scene.publish(number) for number in range(50)]
        small = scene.publish(50, b"small")
        assert scene.outgoing.unwritten == {*tokens, small}
        whole = b"".join([*map(expect, tokens), expect(small, b"small")])
        assert await scene.read(len(whole)) == whole
        await eventually(lambda: len(scene.told) == 51)
        assert scene.told == [*tokens, small]
        assert scene.refused == []
        assert scene.outgoing.unwritten == frozenset()
        assert not scene.outgoing.is_full


async def test_no_more_than_the_backlog_waits_at_the_transport() -> None:
    async with run_scene() as scene:
        for number in range(50):
            scene.publish(number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 500_000 < scene.outgoing.written < 900_000
        assert scene.outgoing._count_buffered() < 700_000


async def test_a_server_that_takes_nothing_is_full_and_what_is_held_is_refused_but_not_what_was_written() -> None:
    async with run_scene() as scene:
        tokens = [scene.publish(number) for number in range(50)]
        await eventually(lambda: scene.outgoing.is_full)
        written = scene.outgoing.written // len(expect(tokens[0]))
        assert scene.refused == tokens[written:]
        assert {*scene.refused} <= {*scene.told}
        assert scene.outgoing.look()


async def test_it_is_full_no_longer_once_something_is_arrived() -> None:
    async with run_scene() as scene:
        tokens = [scene.publish(number) for number in range(50)]
        await eventually(lambda: scene.outgoing.is_full)
        kept = [token for token in tokens if token not in scene.refused]
        whole = b"".join(map(expect, kept))
        assert await scene.read(len(whole)) == whole
        await eventually(lambda: not scene.outgoing.look())
        await eventually(lambda: {*kept} <= {*scene.told})
        assert len(scene.told) == len(tokens)
        last = scene.publish(50)
        assert await scene.read(len(expect(last))) == expect(last)


async def test_a_server_that_takes_a_little_at_a_time_is_waited_for() -> None:
    """Longer than one that takes nothing: for as many looks again, and again."""
    async with run_scene() as scene:
        tokens = [scene.publish(number) for number in range(20)]
        whole = b"".join(map(expect, tokens))
        got = b""
        for _ in range(5 * PATIENT_LOOKS):
            got += await scene.read(30_000)
            arrived = scene.outgoing._arrived
            if len(got) < 1_000_000:
                await eventually(lambda arrived=arrived: scene.outgoing._arrived != arrived)  # type: ignore[misc]
        assert got + await scene.read(len(whole) - len(got)) == whole
        assert scene.refused == []


async def test_more_than_may_be_held_is_full_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.nats.outgoing.MOST_HELD", 1_000_000)
    async with run_scene() as scene:
        count = 0
        while not scene.outgoing.is_full:
            scene.publish(count)
            count += 1
        assert 15 <= count <= 18
        assert scene.outgoing.look()
        assert scene.refused == []


async def test_what_is_held_can_be_withdrawn_once_and_nothing_else() -> None:
    async with run_scene() as scene:
        tokens = [scene.publish(number) for number in range(50)]
        assert scene.outgoing.withdraw(tokens[20])
        assert not scene.outgoing.withdraw(tokens[20])
        assert not scene.outgoing.withdraw(tokens[0])
        assert scene.told == [tokens[20]]
        whole = b"".join(expect(token) for token in tokens if token != tokens[20])
        assert await scene.read(len(whole)) == whole
        await eventually(lambda: len(scene.told) == len(tokens))


async def test_all_are_told_when_the_connection_ends_and_one_that_raises_stops_nobody() -> None:
    async with run_scene() as scene:
        with capture_logs() as logs:
            scene.outgoing.publish(b"s", b"0" * 16, b"", BODY, lambda: 1 / 0)  # type: ignore[arg-type]
            tokens = [scene.publish(number) for number in range(50)]
            scene.outgoing.close()
            scene.outgoing.close()
        assert sorted(scene.told) == tokens
        assert [entry["event"] for entry in logs] == ["written-not-taken"]


async def test_what_needs_no_word_costs_none() -> None:
    async with run_scene() as scene:
        scene.outgoing.publish(b"s", b"0" * 16, b"", b"")
        scene.outgoing.publish(b"s", b"1" * 16, b"NATS/1.0\r\n\r\n", b"body")
        await scene.read(20)
        assert not scene.outgoing._awaited
        assert scene.outgoing._timer is None


def test_what_comes_after_the_end_of_the_transport_is_unwritten_and_raises_nothing() -> None:
    """The transport knows of a reset before the connection does."""
    faults: list[object] = []

    async def lose() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with run_scene() as scene:
            before = scene.publish(1, b"")
            await scene.read(len(expect(before, b"")))
            scene.there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            scene.there.close()
            await eventually(lambda: "closed=True" in repr(scene.outgoing._transport))
            after = scene.publish(2, b"")
            scene.outgoing.publish(b"s", b"3" * 16, b"", b"")
            await asyncio.sleep(0.1)
            assert scene.outgoing.unwritten == {after, b"3" * 16}

    uvloop.run(lose())
    assert faults == []
