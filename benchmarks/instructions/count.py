"""Counts with callgrind, and the figures that are kept in the repository."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.credentials import write_credentials
from benchmarks.instructions.cases import CASES

HERE = Path(__file__).parent
KEPT = HERE / "figures.json"
ROUTES = HERE.parent / "peers" / "routes.yaml"
HEADER = Path("/usr/include/valgrind/callgrind.h")
REQUESTS = 1600
TOLERANCE = 0.03

_TOTAL = re.compile(r"^(?:summary|totals): (\d+)$", re.MULTILINE)
_QUIET = {
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(HERE.parent.parent),
    "PATH": os.environ.get("PATH", ""),
    "GATEWAY_TIMEOUT": "60s",  # below callgrind all takes fifty times as long
    "GATEWAY_MAX_TIMEOUT": "60s",
    "GATEWAY_LOG_LEVEL": "error",  # in a storm ten lines are written a second, however long that takes
}
"""The whole environment, since its size has a say too."""


def find_missing_tool() -> str | None:
    """What is not installed that a count needs."""
    if shutil.which("valgrind") is None or not HEADER.exists():
        return "valgrind is not installed (Debian: apt install valgrind)"
    return None if shutil.which("cc") else "there is no C compiler (Debian: apt install gcc libc6-dev)"


def python_version() -> str:
    return platform.python_version()


def count_all(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """The instructions of a request, by case; of all cases if there are no names. Each case has a process of its own,
    since timers of an earlier one would count too. Raises RuntimeError if the driver fails."""
    write_credentials(folder, ())
    shutil.copy(ROUTES, folder)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "marks.so", HERE / "marks.c"], check=True)
    wanted = [case.name for case in CASES if not names or case.name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(wanted, pool.map(partial(_count, folder), wanted), strict=True))


def _count(folder: Path, name: str) -> int:
    output = folder / f"counted-{name.replace(' ', '-')}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--quiet", sys.executable]
    command += ["-m", "benchmarks.instructions.driver", str(folder), str(REQUESTS), name]
    done = subprocess.run(command, env=_QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the driver fails: {done.stderr[-2000:]}")
    total = _TOTAL.search(output.with_name(f"{output.name}.1").read_text())
    if total is None:
        raise RuntimeError(f"callgrind wrote no total for {name}")
    return int(total[1]) // REQUESTS


@dataclass(frozen=True, slots=True)
class Figures:
    """The kept figures: by version of Python, the instructions by case, and the reason of the last change."""

    by_version: dict[str, dict[str, object]]

    @classmethod
    def read(cls) -> Self:
        return cls(json.loads(KEPT.read_text()) if KEPT.exists() else {})

    def of(self, version: str) -> dict[str, int]:
        """The figures of a version of Python; empty if there are none."""
        found = self.by_version.get(version, {}).get("cases", {})
        assert isinstance(found, dict)
        return found

    def keep(self, version: str, counted: Mapping[str, int], reason: str) -> None:
        """Write these figures into the file."""
        self.by_version[version] = {"reason": reason, "cases": dict(sorted(counted.items()))}
        KEPT.write_text(json.dumps(self.by_version, indent=1) + "\n")

    def find_dearer(self, version: str, counted: Mapping[str, int]) -> list[str]:
        """The cases that cost more than TOLERANCE above their figures, or have none."""
        kept = self.of(version)
        return [name for name, count in counted.items() if count > kept.get(name, 0) * (1 + TOLERANCE)]
