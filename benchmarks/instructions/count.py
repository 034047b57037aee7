"""Counts with callgrind, and the figures that are kept in the repository."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.credentials import write_credentials

HERE = Path(__file__).parent
KEPT = HERE / "figures.json"
ROUTES = HERE.parent / "peers" / "routes.yaml"
HEADER = Path("/usr/include/valgrind/callgrind.h")
REQUESTS = 1600
TOLERANCE = 0.03

_NAME = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
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
    """The instructions of a request, by case. Raises RuntimeError if the driver fails."""
    write_credentials(folder, ())
    shutil.copy(ROUTES, folder)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "marks.so", HERE / "marks.c"], check=True)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counted", "--quiet", sys.executable]
    command += ["-m", "benchmarks.instructions.driver", str(folder), str(REQUESTS), *names]
    done = subprocess.run(command, env=_QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the driver fails: {done.stderr[-2000:]}")
    return dict(sorted(_read(path) for path in folder.glob("counted.*")))


def _read(path: Path) -> tuple[str, int]:
    text = path.read_text()
    name, total = _NAME.search(text), _TOTAL.search(text)
    if name is None or total is None:
        raise RuntimeError(f"callgrind wrote no total into {path}")
    return name[1], int(total[1]) // REQUESTS


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
