"""Limits of the gateway: memory under errors, requests in flight, time to stop."""

import asyncio
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.http.patience import LAST_WORDS
from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import CALLERS, LATE_WHERE_LOADED, Answer, Witness
from tests.harness import NatsServer, RawPeer
from tests.process.programs import run

GONE = 4.0  # seconds until nothing is held any more for callers that are gone
REQUESTS, WARM_UP = 500_000, 50_000
MOST_GROWTH = 5 * 1024 * 1024  # bytes
MIXED = Path(__file__).parent / "mixed.lua"


async def send_mixed(gateway: GatewayProcess, seconds: int) -> int:
    """How many requests were answered: of all kinds, from 64 connections, at full speed."""
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(MIXED), gateway.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    match = re.search(r"^requests (\d+) (\d+)$", output.decode(), re.MULTILINE)
    assert match
    assert match[2] == "0", output
    return int(match[1])


def read_memory(pid: int) -> int:
    """Resident bytes."""
    match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) * 1024


@contextmanager
def run_fast_service(url: str, folder: Path) -> Iterator[None]:
    """The one of the benchmarks, so that it is not what holds up half a million requests."""
    host, _, port = url.removeprefix("nats://").rpartition(":")
    with run([sys.executable, "-m", "benchmarks.responder", host, port], folder / "service.log"):
        yield


@pytest.mark.timeout(900)
async def test_memory_does_not_grow_under_half_a_million_requests_with_errors(
    tmp_path: Path, own_nats: NatsServer, report: Report
) -> None:
    with run_fast_service(own_nats.url, tmp_path):
        async with (
            RawPeer.connect(own_nats.url, "silent.*"),
            run_gateway_process(tmp_path, own_nats.url) as gateway,
        ):
            count = 0
            while count < WARM_UP:
                count += await send_mixed(gateway, 1)
            before = read_memory(gateway.pid)
            while count < REQUESTS:
                count += await send_mixed(gateway, 5)
            grown = read_memory(gateway.pid) - before
            async with asyncio.timeout(GONE):  # a caller that has gone looks like one that is half-closed at first
                while await gateway.count_in_flight():
                    await asyncio.sleep(0.1)
    assert grown < MOST_GROWTH
    measured = f"after the first {WARM_UP:,} of {count:,} the process grew by {grown / 2**20:.1f} MiB"
    report.add("half a million requests, half of them errors", measured=measured)


# Overload

MOST_IN_FLIGHT = 50
SERVICE_DELAY = 0.2  # seconds


def find_latencies(answers: list[Answer], status: int) -> list[float]:
    """Sorted, in seconds."""
    return sorted(answer.ended - answer.began for answer in answers if answer.status == status)


async def test_an_overload_is_told_at_once_and_what_is_accepted_keeps_its_latency(
    tmp_path: Path, own_nats: NatsServer, report: Report
) -> None:
    witness = Witness(delay=SERVICE_DELAY)
    settings = {"GATEWAY_MAX_IN_FLIGHT": str(MOST_IN_FLIGHT)}
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, settings=settings) as gateway,
    ):
        calm, busy = gateway.load(pause=0.1), gateway.load(pause=0.3)
        async with calm.running(MOST_IN_FLIGHT // 2):
            await asyncio.sleep(1)
        async with busy.running(4 * MOST_IN_FLIGHT):
            await asyncio.sleep(2)
    for load in (calm, busy):
        await load.check(witness)
    assert set(calm.count()) == {"200"}
    assert set(busy.count()) == {"200", "overloaded (no)"}
    assert {answer.retry_after for answer in busy.failures} == {"1"}
    usual, accepted, refused = (
        find_latencies(load.answers, status) for load, status in ((calm, 200), (busy, 200), (busy, 503))
    )
    assert statistics.median(accepted) < statistics.median(usual) + LATE_WHERE_LOADED
    assert statistics.median(refused) < SERVICE_DELAY / 2
    medians = [f"{statistics.median(latencies) * 1000:.0f} ms" for latencies in (accepted, usual, refused)]
    measured = "median time of accepted requests {}, without overload {}, of refused requests {}".format(*medians)
    report.add(f"200 callers where {MOST_IN_FLIGHT} may be in flight", busy, measured=measured)


# Stopping

DRAIN_TIMEOUT = 2.0  # seconds


async def stop(gateway: GatewayProcess) -> tuple[int, float]:
    """Its exit code, and how long it took to stop."""
    began = time.monotonic()
    code = await asyncio.to_thread(gateway.process.stop)
    return code, time.monotonic() - began


@pytest.mark.parametrize("hurt", ["kill", "freeze", "freeze with the socket full", "nothing"])
async def test_a_stop_during_an_outage_answers_all_and_ends_in_time(
    tmp_path: Path, own_nats: NatsServer, hurt: str, report: Report
) -> None:
    witness = Witness(delay=0.02)
    options = {"path": "/load/{id}", "body": b"x" * 65536, "timeout": 0.1} if "full" in hurt else {"timeout": 0.5}
    options |= {"reconnects": False}  # the kernel can make those wait that come while the gateway stops
    settings = {"GATEWAY_DRAIN_TIMEOUT": f"{DRAIN_TIMEOUT:g}s"}
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, settings=settings) as gateway,
        gateway.load(**options).running() as load,
    ):
        if hurt == "kill":
            own_nats.kill()
        elif hurt != "nothing":
            own_nats.freeze()
        await asyncio.sleep(1 if "full" in hurt else 0.2)
        code, seconds = await stop(gateway)
        own_nats.thaw()
    await load.check(witness, stopped=True)
    assert code == 0
    assert seconds < DRAIN_TIMEOUT
    measured = f"exited with 0 after {seconds:.2f} s; the drain timeout is {DRAIN_TIMEOUT:g} s"
    report.add(f"SIGTERM to the gateway; to nats-server: {hurt}", load, measured=measured)


async def test_a_stop_with_services_that_hang_ends_with_the_drain_timeout(
    tmp_path: Path, own_nats: NatsServer, report: Report
) -> None:
    """What is in flight then is answered all the same."""
    witness, silence = Witness(), Witness()
    settings = {"GATEWAY_DRAIN_TIMEOUT": f"{DRAIN_TIMEOUT:g}s"}
    async with (
        witness.answering(own_nats.url),
        RawPeer.connect(own_nats.url, "silent.*"),
        run_gateway_process(tmp_path, own_nats.url, settings=settings) as gateway,
    ):
        hanging = gateway.load(path="/silent/{id}", timeout=10)
        async with gateway.load(reconnects=False).running() as load, hanging.asking(CALLERS):
            while await gateway.count_in_flight() < CALLERS:
                await asyncio.sleep(0.02)
            code, seconds = await stop(gateway)
    await load.check(witness, stopped=True)
    await hanging.check(silence, stopped=True)
    assert code == 0
    assert set(load.count()) == {"200"}
    assert hanging.count() == {"connection-lost (unknown)": CALLERS}
    assert seconds < DRAIN_TIMEOUT + LAST_WORDS
    measured = f"exited with 0 after {seconds:.2f} s; the drain timeout is {DRAIN_TIMEOUT:g} s"
    report.add("SIGTERM to the gateway; services that hang", load, hanging, measured=measured)
