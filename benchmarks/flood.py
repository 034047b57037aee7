"""Requests beside a flood of messages: does it delay them?

In one half of each round the watchers of the flood have streams of the gateway. In the other half they subscribe at
NATS themselves, so that all else is the same, and the gateway has only the requests to answer. It has a core of its own
if there are two.
"""

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, Sample, measure
from benchmarks.places import Place, Target
from benchmarks.report import number, spread
from benchmarks.targets import find_port, run_nats, run_target, running

SUBJECT, PATH = "ticks.1", "/ticks/1"
REQUESTS = Load("/greet/sue", connections=2, pause=3)
AT_NATS, AT_GATEWAY = "they watch at NATS", "they watch at the gateway"


@dataclass(frozen=True, slots=True)
class Flood:
    """`rate` is messages a second; each of the watchers gets all of them."""

    watchers: int
    rate: int = 50_000

    @property
    def name(self) -> str:
        return f"requests beside a flood, {self.watchers} watching"


FLOODS = (Flood(1), Flood(4))


def run_flood(case: Flood, target: Target, folder: Path, *, rounds: int, seconds: int) -> dict[str, list[Sample]]:
    """The requests of each half, in turn in each round. Raises RuntimeError if a stream ends."""
    found: dict[str, list[Sample]] = {AT_NATS: [], AT_GATEWAY: []}
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(_leave_one_core())
        url, responders = stack.enter_context(run_nats(folder))
        place = Place(folder, url, find_port(), extra_routes=0, workers=1, collector="")
        address, pid = stack.enter_context(run_target(target, place))
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), own)
        nats_port = url.rpartition(":")[2]
        stack.enter_context(_run("publish", nats_port, SUBJECT, str(case.rate)))
        ends = {AT_NATS: ("watch", nats_port, SUBJECT), AT_GATEWAY: ("read", str(place.port), PATH)}
        for turn in range(rounds + 1):  # the first one warms up
            for name, end in ends.items():
                with contextlib.ExitStack() as watching:
                    watchers = [watching.enter_context(_run(*end)) for _ in range(case.watchers)]
                    sample = measure(REQUESTS, address, pid, responders, seconds=seconds, folder=folder)
                    if any(watcher.poll() is not None for watcher in watchers):
                        raise RuntimeError(f"{case.name}: a stream has ended")
                found[name] += [sample] if turn else []
    return found


@contextlib.contextmanager
def _leave_one_core() -> Iterator[set[int]]:
    """The core that this process and those that it starts do not use until the end."""
    before = os.sched_getaffinity(0)
    first = {min(before)}
    os.sched_setaffinity(0, before - first or first)
    yield first
    os.sched_setaffinity(0, before)


def _run(*arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return running([sys.executable, "-m", "benchmarks.flooder", *arguments])


def print_flood(case: Flood, target: str, found: Mapping[str, Sequence[Sample]]) -> None:
    """A table of medians, each with its least and its greatest, and the ratio of the medians of p99."""
    print(f"\n### {case.name}: {target}\n\n{case.rate:,} messages a second of 100 bytes.\n")
    print("| | p50 ms | p99 ms | gateway CPU, of a core |\n|---|---|---|---|")
    for name, samples in found.items():
        columns = [[getattr(one, field) for one in samples] for field in ("p50_ms", "p99_ms")]
        columns.append([one.cpu_us * one.rate / 1e6 for one in samples])
        print(f"| {name} | {' | '.join(map(spread, columns))} |")
    quiet, loud = (statistics.median([one.p99_ms for one in found[name]]) for name in (AT_NATS, AT_GATEWAY))
    print(f"\np99: {number(loud / quiet)} times.", flush=True)
