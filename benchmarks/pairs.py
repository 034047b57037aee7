"""Pairs of targets that run at the same time and share a core: how much more CPU a request costs on the one.

Other programs on the machine disturb both alike, so the ratio is steady even if microseconds are not. Each round starts
new processes: their place in memory alone changes the ratio by some percent.
"""

import contextlib
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.load import Sample, find_family, measure
from benchmarks.places import Place, Target
from benchmarks.report import spread
from benchmarks.sink import run_sink
from benchmarks.targets import find_port, run_nats, run_target

WARM_UP = 1  # seconds


def run_pairs(
    case: Case, base: Target, others: Sequence[Target], folder: Path, *, rounds: int, seconds: int
) -> Mapping[str, list[float]]:
    """By the name of each of the others: CPU a request over that of the base, in each round."""
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, list[float]] = {target.name: [] for target in others}
    os.sched_setaffinity(0, cores[1:] or cores)  # for this process and what it starts
    try:
        for number in range(rounds):
            for target in others:
                pair = (base, target) if number % 2 else (target, base)
                samples = _run_pair(case, pair, folder, cores[0], seconds)
                found[target.name].append(samples[target.name].cpu_us / samples[base.name].cpu_us)
    finally:
        os.sched_setaffinity(0, cores)
    return found


def _run_pair(case: Case, pair: Sequence[Target], folder: Path, core: int, seconds: int) -> dict[str, Sample]:
    with contextlib.ExitStack() as stack:
        url, responders = stack.enter_context(run_nats(folder))
        collector = stack.enter_context(run_sink())
        running = {}
        for target in pair:
            place = Place(folder, url, find_port(), case.extra_routes, 1, collector)
            address, pid = running[target.name] = stack.enter_context(run_target(target, place))
            for process in find_family(pid):
                for thread in Path(f"/proc/{process}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), [core])
            measure(case.choose_load(target.name), address, pid, responders, seconds=WARM_UP, folder=folder)

        def run(target: Target) -> Sample:
            load, (address, pid) = case.choose_load(target.name), running[target.name]
            return measure(load, address, pid, responders, seconds=seconds, folder=folder)

        with ThreadPoolExecutor(len(pair)) as pool:
            samples = pool.map(run, pair)
        return {target.name: sample for target, sample in zip(pair, samples, strict=True)}


def print_pairs(name: str, base: str, found: Mapping[str, Sequence[float]]) -> None:
    """A table of the medians, each with its least, its quarters and its greatest."""
    print(f"\n### {name}: CPU a request beside {base}\n\n| | ratio | half of the rounds |\n|---|---|---|")
    for target, ratios in found.items():
        quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
        print(f"| {target} | {spread(ratios)} | {quarters[0]:.2f}–{quarters[2]:.2f} |")
    print(flush=True)
