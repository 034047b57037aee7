"""`make run` on a fresh clone: what is said while packages are installed. By the real pip, with a package made here."""

import hashlib
import os
import pty
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import PATIENCE, clean_environment

INSTALL = Path(__file__).parents[2] / "requirements" / "install.py"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file with one package, whose wheel is beside it."""
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("demo.py", "")
        archive.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    path = tmp_path / "lock.txt"
    path.write_text(f"demo==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return path


def prepare(lock: Path) -> tuple[list[str], dict[str, str]]:
    """The command, and an environment where pip installs to a folder of its own, from nowhere else."""
    folder = lock.parent
    variables = {"PIP_TARGET": str(folder / "target"), "PIP_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1"}
    return [sys.executable, str(INSTALL), str(lock)], clean_environment(**variables, TERM="xterm")


def test_without_a_terminal_there_is_a_line_at_the_start_and_one_at_the_end(lock: Path) -> None:
    command, environment = prepare(lock)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE)
    first, last = done.stdout.splitlines()
    assert first.startswith("installing 1 package into ")
    assert re.fullmatch(rf"installed what {re.escape(str(lock))} names, in \d+ s", last)
    assert (done.stderr, done.returncode) == ("", 0)
    assert (lock.parent / "target" / "demo.py").exists()


def test_what_pip_complains_of_is_shown_in_full(lock: Path) -> None:
    lock.write_text(f"demo==1.0 --hash=sha256:{'0' * 64}\n")
    command, environment = prepare(lock)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert f"Expected sha256 {'0' * 64}" in done.stderr
    assert "installed" not in done.stdout


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


@pytest.mark.soak
def test_on_a_terminal_one_line_moves_and_is_gone_at_the_end(lock: Path) -> None:
    command, environment = prepare(lock)
    with terminal() as (ours, theirs):
        process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = "".join(iter(lambda: read_some(ours), ""))
        assert process.wait(PATIENCE) == 0
    *moves, end = shown.split("\r\x1b[K")
    assert len(moves) > 1
    assert all("\n" not in move for move in moves)
    assert re.fullmatch(r"installing 1 package into \S+ … \d+ s", moves[1])
    assert re.fullmatch(r"installed what \S+ names, in \d+ s\r\n", end)
    assert "\x1b" not in shown.replace("\x1b[K", "")  # no colors, whatever NO_COLOR says


def read_some(fd: int) -> str:
    try:
        return os.read(fd, 4096).decode()
    except OSError:  # the other end is closed
        return ""
