"""Callers that leave, read slowly or send slowly. Other callers must not notice them."""

import asyncio
import functools
import gc
import random
import time
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest

import tests.harness
from app.http.lane import LaneName
from app.routefile.load import load_route_file
from tests.faults.gateways import ROUTES, run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import LATE_WHERE_LOADED, Witness
from tests.harness import Gateway, NatsServer, RawPeer, eventually, run_gateway

DISCONNECTS, AT_A_TIME = 10_000, 200
BIG = 900_000  # bytes
SLOW_READERS = 10
GONE = 4.0  # seconds until nothing is held any more for callers that are gone

LONGEST = 8.0  # seconds that a request may take, than which it must not be held when its caller is gone
LONG = b"X-Request-Timeout: %ds\r\n" % LONGEST
REQUESTS = (
    b"GET /silent/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"\r\n",
    b"GET /silent/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"\r\nGET /silent/2 HTTP/1.1\r\nHost: t\r\n" + LONG + b"\r\n",
    b"GET /silent/1 HTTP/1.1\r\nHo",
    b"POST /load/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"Content-Length: 10\r\n\r\n12345",
    b"POST /load/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    b"POST /load/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"Content-Length: 5\r\n\r\n12345",
    b"POST /load/1 HTTP/1.1\r\nHost: t\r\n" + LONG + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
)


@dataclass(frozen=True, slots=True)
class Held:
    """What a gateway in this process holds for its requests, by count."""

    entries: int
    connections: int
    deadlines: int
    tasks: int
    timers: int
    files: int

    @classmethod
    def count(cls, gateway: Gateway) -> "Held":
        gc.collect()
        loop = asyncio.get_running_loop()
        fast = gateway.parts.protocols["fast"]
        assert isinstance(fast, functools.partial)
        wheels = [gateway.link._in_flight._deadlines, fast.keywords["deadlines"]]
        return cls(
            gateway.link.in_flight,
            len(gateway.server.server_state.connections),
            sum(len(bucket) for wheel in wheels for bucket in wheel._buckets.values()),
            len(asyncio.all_tasks()),
            sum(not timer.cancelled() for timer in loop._scheduled),  # type: ignore[attr-defined]
            len(list(Path("/proc/self/fd").iterdir())),
        )

    @classmethod
    async def count_most(cls, gateway: Gateway) -> "Held":
        """What is held at any of several instants: a timer of the server's own may just be due."""
        counts = []
        for _ in range(10):
            counts.append(astuple(cls.count(gateway)))
            await asyncio.sleep(0.03)
        return cls(*map(max, *counts))

    def is_within(self, other: "Held") -> bool:
        return all(now <= then for now, then in zip(astuple(self), astuple(other), strict=True))


async def leave_in_the_middle(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(random.choice(REQUESTS))  # noqa: S311 - a load
    await asyncio.sleep(random.uniform(0, 0.03))  # noqa: S311
    writer.transport.abort()


@pytest.mark.timeout(180)
async def test_ten_thousand_callers_that_leave_in_the_middle_leave_nothing_behind(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    monkeypatch.setattr(tests.harness, "LANE", lane)
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    async with (
        RawPeer.connect(own_nats.url, "silent.*", "load.*"),
        run_gateway(own_nats.url, routes=load_route_file(routes)) as gateway,
    ):
        await asyncio.gather(*(leave_in_the_middle(gateway.port) for _ in range(AT_A_TIME)))
        await asyncio.sleep(LONGEST + 0.5)
        before = await Held.count_most(gateway)
        most = 0
        for _ in range(DISCONNECTS // AT_A_TIME):
            leaving = asyncio.gather(*(leave_in_the_middle(gateway.port) for _ in range(AT_A_TIME)))
            await asyncio.sleep(0.02)
            most = max(most, gateway.link.in_flight)
            await leaving
        # The timers of a wheel stay until their tick, and have nothing to end then.
        await eventually(lambda: replace(Held.count(gateway), timers=0).is_within(before), GONE)
        await asyncio.sleep(LONGEST + 0.5)
        await eventually(lambda: Held.count(gateway).is_within(before), 1)
        assert most > 10, "no request was in flight: this test has not tested what it says"
    held = f"nothing stays behind; at most {most} requests were in flight"
    report.add(f"10,000 callers that leave in the middle ({lane} lane)", measured=held)


async def read_slowly(port: int, pause: float) -> int:
    """How many bytes of a big reply come, some every `pause` seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=10_000)
    writer.write(b"GET /silent/0 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    count = 0
    while data := await reader.read(10_000):
        count += len(data)
        await asyncio.sleep(pause)
    writer.close()
    return count


async def send_slowly(port: int, timeout: float) -> tuple[bytes, float]:
    """The answer to a body that comes a byte a second, and when it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /load/slow HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\nX-Request-Timeout: %dms\r\n\r\n"
    began = time.monotonic()
    writer.write((head % (timeout * 1000)).encode())
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(b"x")
        await asyncio.wait([answer], timeout=1)
    writer.close()
    return answer.result(), time.monotonic() - began


async def answer_big(peer: RawPeer) -> None:
    while True:
        message = await peer.next(timeout=3600)
        peer.write(b"PUB %b %d\r\n%b\r\n" % (message.reply, BIG, b"x" * BIG))


async def test_callers_that_read_slowly_get_all_and_hold_up_nobody(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    witness = Witness()
    async with (
        witness.answering(own_nats.url),
        RawPeer.connect(own_nats.url, "silent.*") as peer,
        asyncio.TaskGroup() as tasks,
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
    ):
        service = tasks.create_task(answer_big(peer))
        async with gateway.load().running() as load:
            counts = await asyncio.gather(*(read_slowly(gateway.port, 0.03) for _ in range(SLOW_READERS)))
        service.cancel()
    await load.check(witness)
    assert set(load.count()) == {"200"}
    assert min(counts) > BIG
    measured = f"each of the {SLOW_READERS} got all of its {BIG:,} bytes"
    report.add(f"beside callers that read slowly ({lane} lane)", load, measured=measured)


async def test_a_body_of_a_byte_a_second_is_given_up_at_its_deadline(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    witness = Witness()
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
        gateway.load().running() as load,
    ):
        answers = await asyncio.gather(*(send_slowly(gateway.port, 2 + number / 50) for number in range(50)))
    await load.check(witness)
    assert set(load.count()) == {"200"}
    for number, (answer, seconds) in enumerate(answers):
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"delivered":"no"' in answer
        assert -0.01 < seconds - (2 + number / 50) < LATE_WHERE_LOADED
    assert not witness.ran["slow"]
    latest = max(seconds - 2 - number / 50 for number, (_, seconds) in enumerate(answers))
    measured = f"each of the 50 got 408, at most {latest * 1000:.0f} ms after its deadline"
    report.add(f"beside callers that send a byte a second ({lane} lane)", load, measured=measured)
