"""The tables of docs/faults.md: what the suite has seen."""

import os
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from app.commands.embedded import find_nats_server
from tests.faults.truth import Load

BEGIN, END = "<!-- figures of the suite -->\n", "<!-- end of the figures -->\n"
HEADER = "| fault | answers | latest answer | other measurements |\n|---|---|---|---|\n"


class Report:
    """A table with a row for each fault, in the order of the tests."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def add(self, fault: str, *loads: Load, measured: str = "") -> None:
        """What the callers of all loads saw together. `measured` is for what their answers don't show."""
        counts = sum((load.count() for load in loads), Counter[str]())
        saw = ", ".join(f"{count:,} × {kind}" for kind, count in counts.most_common())
        latest = describe_lateness(max(load.lateness for load in loads)) if loads else ""
        self.rows.append(f"| {fault} | {saw} | {latest} | {measured} |\n")


class Page:
    """A table for each module of tests."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}

    def begin(self, title: str) -> Report:
        """The table of this title."""
        return self._reports.setdefault(title, Report())

    def write(self, path: Path) -> None:
        """In the place of the tables that are there."""
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        tables = [f"### {title}\n\n{HEADER}{''.join(report.rows)}" for title, report in self._reports.items()]
        figures = "\n".join([f"{describe_run()}\n", *tables])
        path.write_text(f"{before}{BEGIN}{figures}{END}{after}", encoding="utf-8")


def describe_run() -> str:
    """The day, and what has a say in the figures."""
    server = subprocess.run([find_nats_server(), "--version"], capture_output=True, text=True, check=True).stdout
    words = [
        datetime.now(UTC).date().isoformat(),
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        f"nats-py {version('nats-py')}",
        server.strip().replace(": v", " "),
    ]
    return f"{', '.join(words)}."


def describe_lateness(seconds: float) -> str:
    """Against the deadline."""
    return f"{seconds * 1000:.0f} ms after its deadline" if seconds > 0 else "before its deadline"


def describe_seconds(values: list[float]) -> str:
    """The median and the most."""
    return f"{sorted(values)[len(values) // 2]:.2f} s (at most {max(values):.2f} s)"
