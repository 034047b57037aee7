"""Installs locked packages into the environment of this Python: `python install.py [--project] LOCK`.

On a terminal one line says how far it is, and moves; elsewhere there is a line at the start and one at the end. All
that pip complains of is shown. It needs nothing but Python and pip. `--project` adds the project itself, from the
current folder, in a way that changes of its sources need no further installation.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERVAL = 0.2  # seconds between two moves of the line
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off")
PROJECT = ("--no-deps", "--no-build-isolation", "--editable", ".")
CLEAR = "\r\x1b[K"


class Line:
    """The line that moves, from entering to leaving. Where stdout is no terminal that can do that, it stands still."""

    def __init__(self, text: str) -> None:
        self.text = text
        """What is going on now."""
        self._started = time.monotonic()
        self._moves = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._move, daemon=True)

    @property
    def seconds(self) -> int:
        return round(time.monotonic() - self._started)

    def __enter__(self) -> "Line":
        if self._moves:
            self._thread.start()
        else:
            print(f"{self.text} …", flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._moves:
            self._thread.join()
            print(CLEAR, end="", flush=True)

    def _move(self) -> None:
        while not self._ended.wait(INTERVAL):
            width = shutil.get_terminal_size().columns
            print(CLEAR + f"{self.text} … {self.seconds} s"[: width - 1], end="", flush=True)


def count_packages(lock: Path) -> int:
    """How many a lock file names. Some of them may be for other systems."""
    return len(re.findall(r"^[A-Za-z0-9]\S*==", lock.read_text(encoding="utf-8"), re.MULTILINE))


def follow(output: Iterable[str], line: Line, count: int, folder: str) -> None:
    """Say on the line what pip's output tells of."""
    found: set[str] = set()
    for text in output:
        word, _, rest = text.strip().partition(" ")
        if word == "Collecting" or text.startswith("Requirement already satisfied"):
            found.add(rest)
            name = re.split(r"[=<>!~\[ ;(]", rest)[0]
            line.text = f"installing into {folder}: {len(found)} of {count}, {name}"
        elif text.startswith("Installing collected packages"):
            line.text = f"installing into {folder}: writing what came"


def run_pip(arguments: Iterable[str], line: Line, count: int, folder: str) -> tuple[int, str]:
    """The exit code, and what pip wrote to stderr."""
    with tempfile.TemporaryFile("w+") as said:
        command = [*PIP, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as pip:
            follow(pip.stdout or (), line, count, folder)
        said.seek(0)
        return pip.returncode, said.read()


def list_steps(lock: Path, *, with_project: bool) -> Iterator[tuple[str, ...]]:
    yield ("--require-hashes", "-r", str(lock))
    if with_project:
        yield PROJECT


def main(arguments: list[str]) -> int:
    """The exit code: that of pip."""
    with_project = "--project" in arguments
    lock = Path(arguments[-1])
    folder = os.path.relpath(sys.prefix)
    count = count_packages(lock)
    noun = "package" if count == 1 else "packages"
    code, said = 0, ""
    with Line(f"installing {count} {noun} into {folder}") as line:
        for step in list_steps(lock, with_project=with_project):
            code, words = run_pip(step, line, count, folder)
            said += words
            if code:
                break
    print(said, end="", file=sys.stderr, flush=True)
    if not code:
        print(f"installed what {lock} names, in {line.seconds} s", flush=True)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
