"""The tables, results.json and the chart of a run."""

import io
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

from benchmarks.bridges import JAVASCRIPT, NATS_JS, find_bun
from benchmarks.load import Delivery, Sample

COLUMNS = (("cpu_us", "CPU µs a request"), ("rate", "requests a second"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"))

DEBIAN = (
    ("nats.go", "golang-github-nats-io-go-nats-dev"),
    ("fasthttp", "golang-github-valyala-fasthttp-dev"),
    ("nchan", "libnginx-mod-nchan"),
)
"""What comes as a Debian package, and which."""

Found = Mapping[str, Mapping[str, Sequence[Sample]]]
Fanned = Mapping[str, Mapping[str, Sequence[Delivery]]]


@dataclass(frozen=True, slots=True)
class Machine:
    date: str
    text: str


class Copy(io.StringIO):
    """Keeps what is printed, and passes it on."""

    def __init__(self, target: TextIO) -> None:
        super().__init__()
        self._target = target

    @property
    def text(self) -> str:
        return self.getvalue()

    def write(self, text: str) -> int:
        self._target.write(text)
        return super().write(text)

    def flush(self) -> None:
        self._target.flush()


def describe_machine() -> Machine:
    """The day, the processor, and the versions of all that has a say in the figures."""
    date = datetime.now(UTC).date().isoformat()
    words = [
        date,
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores ({_read_processor()})",
        f"Python {platform.python_version()}",
    ]
    words += [
        f"{name} {found}"
        for name in ("uvicorn", "uvloop", "fastapi", "nats-py", "faststream", "mq-bridge")
        if (found := _find_version(name))
    ]
    words.append(_run("nats-server", "--version").replace(": v", " "))
    words.append(_run("go", "version").removeprefix("go version ").split(" ")[0])
    words += [_run("dpkg-query", "-W", "-f", f"{name} ${{Version}}", package) for name, package in DEBIAN]
    words += [
        _run("nginx", "-v").replace("nginx version: nginx/", "nginx "),
        _run("node", "--version").replace("v", "Node.js "),
    ]
    words.append(_find_client_version())
    words.append(f"Bun {_run(str(bun), '--version')}" if (bun := find_bun()) else "")
    return Machine(date, ", ".join(word for word in words if word) + ".")


def _read_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _find_client_version() -> str:
    """The version of the client in JavaScript; empty if it is not installed."""
    path = JAVASCRIPT / "node_modules" / NATS_JS / "package.json"
    return f"nats.js {json.loads(path.read_text())['version']}" if path.exists() else ""


def _run(program: str, *arguments: str) -> str:
    """The first line that a program says of itself; empty where there is none."""
    path = Path(sys.executable).parent / program
    try:
        done = subprocess.run(
            [str(path) if path.exists() else program, *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0] if done.returncode == 0 else ""


def print_case(name: str, found: Mapping[str, Sequence[Sample]]) -> None:
    """A table of medians, each with its least and its greatest."""
    busiest = max(sample.responder_busy for samples in found.values() for sample in samples)
    print(f"\n### {name}\n\nBusiest responder: {busiest:.0%} of a core.\n")
    print(f"| | {' | '.join(title for _, title in COLUMNS)} | MiB | errors |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for target, samples in found.items():
        cells = [spread([getattr(sample, field) for sample in samples]) for field, _ in COLUMNS]
        memory = max(sample.memory_mib for sample in samples)
        errors = sum(sample.errors for sample in samples)
        print(f"| {target} | {' | '.join(cells)} | {memory:.0f} | {errors} |")
    print(flush=True)


def spread(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def median(samples: Sequence[Sample], field: str) -> float:
    values: list[float] = [getattr(sample, field) for sample in samples]
    return statistics.median(values)


def print_drift(samples: Sequence[Sample]) -> None:
    """The first minute beside the last."""
    if len(samples) < 12:
        return
    print(
        f"\n### {len(samples) / 6:.0f} minutes of load on the fast lane\n\n| | CPU µs a request | MiB |\n|---|---|---|"
    )
    for name, part in (("first minute", samples[:6]), ("last minute", samples[-6:])):
        print(f"| {name} | {spread([one.cpu_us for one in part])} | {spread([one.memory_mib for one in part])} |")
    print(f"\nErrors: {sum(sample.errors for sample in samples)}.", flush=True)


def write_tables(path: Path, printed: str) -> None:
    """All that a run has printed, as a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# All cases of one run\n\n[docs/performance.md](../docs/performance.md) says what they show.\n\n{printed}"
    )


def write_results(path: Path, machine: Machine, found: Found, fanned: Fanned, drift: Sequence[Sample]) -> None:
    """Every sample of every target and case, as JSON."""
    document = {
        "date": machine.date,
        "machine": machine.text,
        "cases": _round_all(found),
        "fan_outs": _round_all(fanned),
        "drift": [_round(one) for one in drift],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _round_all(found: Found | Fanned) -> dict[str, dict[str, list[dict[str, float]]]]:
    return {
        case: {target: [_round(sample) for sample in samples] for target, samples in targets.items()}
        for case, targets in found.items()
    }


def _round(sample: Sample | Delivery) -> dict[str, float]:
    return {key: round(value, 3) for key, value in asdict(sample).items()}
