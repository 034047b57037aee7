"""One subject, and many callers who each get all of it: the gateway beside nginx with nchan.

A round starts each target again, since a process does not give back the memory of streams that have ended.
"""

import asyncio
import contextlib
import http.client
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nats

from benchmarks.cases import NCHAN
from benchmarks.load import Delivery, read_cpu, read_shared_memory
from benchmarks.places import Place, Target
from benchmarks.readers import write_payload
from benchmarks.report import spread
from benchmarks.targets import find_port, run_nats, run_target

CHANNEL = "1"
WARM_UP = 2  # messages
SPARE_FILES = 500  # that a process has open beside the streams

Publish = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class FanOut:
    """`rate` is messages a second: so few that every caller keeps pace."""

    callers: int
    rate: int

    @property
    def name(self) -> str:
        return f"fan-out to {self.callers:,} callers"


FAN_OUTS = (FanOut(1_000, rate=20), FanOut(10_000, rate=2))


def find_limit(case: FanOut) -> str | None:
    """Why this machine can't take that many callers, if it can't."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    is_enough = allowed == resource.RLIM_INFINITY or allowed >= case.callers + SPARE_FILES
    return None if is_enough else f"a process may open {allowed:,} files (ulimit -Hn)"


def run_fan_out(
    case: FanOut, targets: Sequence[Target], folder: Path, *, rounds: int, seconds: int
) -> dict[str, list[Delivery]]:
    """The deliveries of each target, in turn in each round."""
    found: dict[str, list[Delivery]] = {target.name: [] for target in targets}
    with run_nats(folder) as (url, _):
        for _ in range(rounds):
            for target in targets:
                place = Place(folder, url, find_port(), extra_routes=0, workers=1, collector="")
                with run_target(target, place) as (_, pid), _open_publisher(target, place) as publish:
                    found[target.name].append(_measure(case, place.port, pid, publish, seconds))
    return found


@contextlib.contextmanager
def _open_publisher(target: Target, place: Place) -> Iterator[Publish]:
    opened = _publish_over_http(place.port) if target.name == NCHAN else _publish_over_nats(place.nats_url)
    with opened as publish:
        yield publish


@contextlib.contextmanager
def _publish_over_nats(url: str) -> Iterator[Publish]:
    with asyncio.Runner() as runner:
        client = runner.run(nats.connect(url))

        async def send(payload: bytes) -> None:
            await client.publish(f"ticks.{CHANNEL}", payload)
            await client.flush()

        yield lambda payload: runner.run(send(payload))
        runner.run(client.close())


@contextlib.contextmanager
def _publish_over_http(port: int) -> Iterator[Publish]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(payload: bytes) -> None:
        connection.request("POST", f"/publish/{CHANNEL}", payload, {"Content-Type": "text/plain"})
        with connection.getresponse() as response:
            response.read()
            if response.status >= 300:
                raise RuntimeError(f"nchan refuses a message: {response.status}")

    with contextlib.closing(connection):
        yield send


def _measure(case: FanOut, port: int, pid: int, publish: Publish, seconds: int) -> Delivery:
    with _run_readers(port, 1) as one:  # what the first stream of a process makes is not memory of a stream
        _deliver(one, publish, WARM_UP, case.rate)
    before = read_shared_memory(pid)
    with _run_readers(port, case.callers) as readers:
        stream_kib = (read_shared_memory(pid) - before) / case.callers
        _deliver(readers, publish, WARM_UP, case.rate)
        cpu, busy, started = read_cpu(pid), read_cpu(readers.pid), time.monotonic()
        found = _deliver(readers, publish, case.rate * seconds, case.rate)
        return Delivery(
            cpu_us=(read_cpu(pid) - cpu) / max(found["events"], 1) * 1e6,
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            stream_kib=stream_kib,
            missing=int(found["missing"]),
            reader_busy=(read_cpu(readers.pid) - busy) / (time.monotonic() - started),
        )


@contextlib.contextmanager
def _run_readers(port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has that many streams open. Raises RuntimeError if they can't be opened."""
    command = [sys.executable, "-m", "benchmarks.readers", str(port), f"/ticks/{CHANNEL}", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            _read_line(process)
            yield process
        finally:
            process.kill()


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line
    raise RuntimeError("the callers have ended")


def _deliver(readers: subprocess.Popen[str], publish: Publish, messages: int, rate: int) -> dict[str, float]:
    """Publish messages at a rate, and what the callers say about them."""
    assert readers.stdin is not None
    readers.stdin.write(f"{messages}\n")
    readers.stdin.flush()
    started = time.monotonic()
    for number in range(messages):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        publish(write_payload(time.monotonic_ns(), number))
    found: dict[str, float] = json.loads(_read_line(readers))
    return found


def print_fan_out(case: FanOut, found: Mapping[str, Sequence[Delivery]]) -> None:
    """A table of medians, each with its least and its greatest."""
    busiest = max((one.reader_busy for samples in found.values() for one in samples), default=0)
    print(f"\n### {case.name}\n\n{case.rate} messages a second. The callers took at most {busiest:.0%} of a core.\n")
    print("| | CPU µs an event | KiB an idle stream | p50 ms | p99 ms | missing events |\n|---|---|---|---|---|---|")
    for target, samples in found.items():
        columns = [[getattr(one, field) for one in samples] for field in ("cpu_us", "stream_kib", "p50_ms", "p99_ms")]
        print(f"| {target} | {' | '.join(map(spread, columns))} | {sum(one.missing for one in samples)} |")
    print(flush=True)
