"""The gateway beside its peers, all in one run: `make bench`, or `python -m benchmarks --help`.

For each case the targets are measured in turn, A B A B …, with the same nats-server and responders. Prints tables of
medians with min–max, and writes them, results.json and the chart into a folder.
"""

import argparse
import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cases import CASES, FANNED, FAST, OTHER_STREAMS, STREAMS, Case
from benchmarks.credentials import write_credentials
from benchmarks.fanout import FAN_OUTS, find_limit, print_fan_out, run_fan_out
from benchmarks.flood import FLOODS, print_flood, run_flood
from benchmarks.load import Delivery, Load, Sample, measure
from benchmarks.pairs import print_pairs, run_pairs
from benchmarks.places import Place, Target
from benchmarks.report import Copy, describe_machine, print_case, print_drift, write_results, write_tables
from benchmarks.sink import run_sink
from benchmarks.targets import find_port, find_targets, run_nats, run_target

WARM_UP = 1  # seconds
DRIFT_STEP = 10  # seconds


def main() -> None:
    options = parse_options()
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is not installed (Debian: apt install wrk)")
    tables = Copy(sys.stdout)
    with contextlib.redirect_stdout(tables), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [case for case in CASES if re.search(options.only, case.name)]
        write_credentials(folder, {case.load.credentials for case in cases})
        targets = find_targets(folder, options.targets, options.beside)
        for target in targets.values():
            if target.missing:
                print(f"LEFT OUT: {target.name}: {target.missing}\n")
        machine = describe_machine()
        print(machine.text, flush=True)
        if options.pairs:
            compare_pairs(cases, targets, folder, options)
            return
        found: dict[str, dict[str, list[Sample]]] = {}
        for case in cases:
            if not choose_targets(case, targets):
                continue
            found[case.name] = run_case(case, targets, folder, options)
            print_case(case.name, found[case.name])
        found |= run_floods(targets, folder, options)
        fanned = run_fan_outs(targets, folder, options)
        drift = run_drift(targets[FAST], folder, options.drift) if options.drift else []
        print_drift(drift)
    if options.out:
        write_results(options.out / "results.json", machine, found, fanned, drift)
        write_tables(options.out / "tables.md", tables.text)
        from benchmarks.chart import draw_chart  # its library is not needed to measure

        draw_chart(options.out / "chart.svg", found)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="times that each target is measured in a case")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement, in whole seconds")
    parser.add_argument("--only", default="", help="a regular expression for the names of cases")
    parser.add_argument("--targets", default="", help="one for the names of targets")
    parser.add_argument("--pairs", metavar="NAME", help="ratios to the first target of such a name, at the same time")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout of the gateway, measured as well")
    parser.add_argument("--drift", type=float, default=0, help="minutes of load on the fast lane, to see it drift")
    parser.add_argument(
        "--out", type=Path, help="folder for tables.md, results.json and chart.svg; else none is written"
    )
    return parser.parse_args()


def compare_pairs(
    cases: Sequence[Case], targets: Mapping[str, Target], folder: Path, options: argparse.Namespace
) -> None:
    base = next((target for name, target in targets.items() if re.search(options.pairs, name)), None)
    if base is None:
        sys.exit(f"benchmarks: no target has a name that --pairs '{options.pairs}' matches")
    for case in cases:
        others = [target for target in choose_targets(case, targets) if target is not base]
        found = run_pairs(case, base, others, folder, rounds=options.rounds, seconds=options.seconds)
        print_pairs(case.name, base.name, found)


def choose_targets(case: Case, targets: Mapping[str, Target]) -> list[Target]:
    return [target for target in targets.values() if case.takes(target.name) and not target.missing]


def run_case(
    case: Case, targets: Mapping[str, Target], folder: Path, options: argparse.Namespace
) -> dict[str, list[Sample]]:
    """The samples of each target of a case that is there."""
    chosen = choose_targets(case, targets)
    samples: dict[str, list[Sample]] = {target.name: [] for target in chosen}
    with contextlib.ExitStack() as stack:
        url, responders = stack.enter_context(run_nats(folder))
        collector = stack.enter_context(run_sink())
        running = {}
        for target in chosen:
            place = Place(folder, url, find_port(), case.extra_routes, case.workers, collector)
            running[target.name] = stack.enter_context(run_target(target, place))
            measure(case.choose_load(target.name), *running[target.name], responders, seconds=WARM_UP, folder=folder)
        for _ in range(options.rounds):
            for name, (address, pid) in running.items():
                load = case.choose_load(name)
                samples[name].append(measure(load, address, pid, responders, seconds=options.seconds, folder=folder))
    return samples


def run_fan_outs(
    targets: Mapping[str, Target], folder: Path, options: argparse.Namespace
) -> dict[str, dict[str, list[Delivery]]]:
    """The deliveries of each target, by the name of the case; the tables are printed."""
    chosen = [target for name, target in targets.items() if name in FANNED and not target.missing]
    found: dict[str, dict[str, list[Delivery]]] = {}
    for case in FAN_OUTS:
        if not chosen or not re.search(options.only, case.name):
            continue
        if limit := find_limit(case):
            print(f"LEFT OUT: {case.name}: {limit}\n")
            continue
        found[case.name] = run_fan_out(case, chosen, folder, rounds=options.rounds, seconds=options.seconds)
        print_fan_out(case, found[case.name])
    return found


def run_floods(
    targets: Mapping[str, Target], folder: Path, options: argparse.Namespace
) -> dict[str, dict[str, list[Sample]]]:
    """The requests beside each flood, by the name of the case; the tables are printed."""
    found: dict[str, dict[str, list[Sample]]] = {}
    for case in FLOODS:
        if not re.search(options.only, case.name):
            continue
        for name in (STREAMS, OTHER_STREAMS):
            if target := targets.get(name):
                samples = run_flood(case, target, folder, rounds=options.rounds, seconds=options.seconds)
                print_flood(case, name, samples)
                found.setdefault(case.name, {}).update({f"{name}: {half}": one for half, one in samples.items()})
    return found


def run_drift(target: Target, folder: Path, minutes: float) -> list[Sample]:
    """One sample each ten seconds of load."""
    with run_nats(folder) as (url, responders):
        place = Place(folder, url, find_port(), extra_routes=0, workers=1, collector="")
        with run_target(target, place) as (address, pid):
            load = Load("/greet/sue")
            return [
                measure(load, address, pid, responders, seconds=DRIFT_STEP, folder=folder)
                for _ in range(round(minutes * 60 / DRIFT_STEP))
            ]


if __name__ == "__main__":
    main()
