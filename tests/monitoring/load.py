"""Load by wrk: one that is counted to the request, one of mixed requests, and one that is timed."""

import asyncio
import contextlib
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from nats.aio.client import Client
from nats.errors import NoRespondersError

from tests.harness import PATIENCE, connect
from tests.process.programs import run

EXACT = Path(__file__).with_name("exact.lua")
MIXED = Path(__file__).parents[1] / "faults" / "mixed.lua"


async def send_exactly(url: str, paths: Sequence[str], *, connections: int, each: int) -> Counter[tuple[str, int]]:
    """How many responses wrk counted, by path and status: `each` on each connection, and no request without one."""
    script = ("-s", str(EXACT), url, "--", str(each), *paths)
    size = (f"-t{connections}", f"-c{connections}", "-d600s", "--timeout", "60s")
    process = await asyncio.create_subprocess_exec("wrk", *size, *script, stdout=PIPE, stderr=PIPE)
    try:
        await asyncio.wait_for(_wait_for_stops(process, connections), 3 * PATIENCE)
        process.send_signal(signal.SIGINT)  # else it waits until its time is over
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert f"summary {connections * each} 0\n" in output.decode(), output.decode()
    counts: Counter[tuple[str, int]] = Counter()
    for path, status, count in re.findall(r"^(/\S*) (\d+) (\d+)$", output.decode(), re.MULTILINE):
        counts[path, int(status)] += int(count)
    assert counts.total() == connections * each
    return counts


async def _wait_for_stops(process: Process, count: int) -> None:
    assert process.stderr is not None
    for _ in range(count):
        assert await process.stderr.readline() == b"stopped\n"


@contextlib.asynccontextmanager
async def keep_sending(url: str, *options: str) -> AsyncIterator[None]:
    """Requests of all kinds, from 8 connections, at full speed; or those that the options of wrk say."""
    arguments = options or ("-s", str(MIXED))
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", "-c8", "-d600s", *arguments, url, stdout=PIPE, stderr=PIPE
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), PATIENCE)


async def time_requests(url: str, *, seconds: int) -> float:
    """The 99th percentile of the requests for a greeting, in milliseconds, from 16 connections."""
    command = ("wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", f"{url}/greet/sue")
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    output, _ = await process.communicate()
    match = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)\s*$", output.decode(), re.MULTILINE)
    assert match, output.decode()
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]


@contextlib.asynccontextmanager
async def run_fast_service(nats: str, folder: Path) -> AsyncIterator[None]:
    """Answers greet.* and blob.* when it is entered. The load does not wait for it."""
    host, _, port = nats.removeprefix("nats://").rpartition(":")
    with run([sys.executable, "-m", "benchmarks.responder", host, port], folder / "service.log"):
        async with connect(nats) as client, asyncio.timeout(PATIENCE):
            while not await _is_answered(client):
                await asyncio.sleep(0.05)
        yield


async def _is_answered(client: Client) -> bool:
    try:
        await client.request("greet.sue")
    except NoRespondersError:
        return False
    return True
