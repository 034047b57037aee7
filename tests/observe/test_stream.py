"""The stream that never makes its caller wait, on real pipes."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from app.observe.stream import MAX_BYTES, QueuedStream
from tests.harness import PATIENCE, clean_environment

PIPE_SIZE = 64 * 1024  # bytes that the kernel keeps of a pipe that nobody reads


def report(count: int) -> str:
    return f"missing {count}\n"


class Pipe:
    def __init__(self, flags: int = 0) -> None:
        self.reader, writer = os.pipe2(flags)
        self.writer: TextIO = os.fdopen(writer, "w", encoding="utf-8", errors="backslashreplace")
        self._rest = b""
        self.lines: list[str] = []

    def read(self) -> bool:
        """Whether there was more."""
        assert select.select([self.reader], [], [], PATIENCE)[0], self.lines[-1]
        data = os.read(self.reader, PIPE_SIZE)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return data != b""

    def read_all(self) -> list[str]:
        """All that comes until the other end is closed, which this does."""
        self.writer.close()
        while self.read():
            pass
        return self.lines

    def close(self) -> None:
        self.writer.close()
        os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def count_lines(lines: list[str]) -> int:
    """How many were written. Each is its own number, and a report is in the place of the lines that it counts."""
    following = 0
    for line in lines:
        if line.startswith("missing "):
            following += int(line.removeprefix("missing "))
        else:
            assert int(line) == following
            following += 1
    return following


def test_no_line_is_lost_and_each_thread_s_lines_keep_their_order(pipe: Pipe) -> None:
    stream = QueuedStream(pipe.writer, report)

    def write(name: int) -> None:
        for number in range(500):
            stream.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.finish()
    stream.write("after the end\n")
    lines = pipe.read_all()
    assert lines.pop() == "after the end"
    assert len(lines) == 2000
    for name in range(4):
        assert [line for line in lines if line[0] == str(name)] == [f"{name} {number}" for number in range(500)]


@pytest.mark.parametrize(("width", "total"), [(1, 60_000), (1000, 3000)], ids=["short lines", "long lines"])
def test_a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_missing_is_counted(
    pipe: Pipe, width: int, total: int
) -> None:
    stream = QueuedStream(pipe.writer, report)
    for number in range(total):
        stream.write(f"{number:0{width}}\n")
    stream.finish()  # in vain, but not for ever
    while not pipe.lines or count_lines(pipe.lines) < total:
        pipe.read()
    kept = [line for line in pipe.lines if not line.startswith("missing ")]
    assert len(kept) < total
    assert sum(len(line) + 1 for line in kept) <= MAX_BYTES + PIPE_SIZE
    stream.write(f"{total}\n")  # all is as before
    stream.finish()
    assert count_lines(pipe.read_all()) == total + 1


def test_a_line_that_never_fits_is_counted_and_the_next_one_comes(pipe: Pipe) -> None:
    stream = QueuedStream(pipe.writer, report)
    stream.write("x" * MAX_BYTES + "\n")
    pipe.read()
    stream.write("1\n")
    stream.finish()
    assert pipe.read_all() == ["missing 1", "1"]


def test_lines_that_a_reader_has_missed_are_counted_when_there_is_one_again(tmp_path: Path) -> None:
    """A named pipe: each write fails while nobody has it open to read."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("w") as writer:
        stream = QueuedStream(writer, report)
        os.close(reader)
        stream.write("lost\n")
        stream.write("lost\n")
        stream.finish()  # writes at once from now on
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        stream.write("here\n")
    assert os.read(reader, PIPE_SIZE) == b"here\nmissing 2\n"
    os.close(reader)


def test_a_line_in_pieces_is_written_when_it_ends_or_is_flushed(pipe: Pipe) -> None:
    stream = QueuedStream(pipe.writer, report)
    print("one", "line", sep=" ", end="", file=stream)
    stream.write("a line\n")
    pipe.read()
    assert pipe.lines == ["one linea line"]
    print("no newline", end="", file=stream, flush=True)
    stream.finish()
    stream.write("\n")
    assert pipe.read_all()[1:] == ["no newline"]


def test_one_write_is_whole_lines_that_don_t_mix_with_those_of_others() -> None:
    """A pipe in packet mode gives each write to one read."""
    pipe = Pipe(os.O_DIRECT)
    stream = QueuedStream(pipe.writer, report)
    for number in range(1000):
        stream.write(f"{number:0100}\n")
    count = 0
    while count < 1000:
        packet = os.read(pipe.reader, PIPE_SIZE)
        assert len(packet) <= select.PIPE_BUF
        assert len(packet) % 101 == 0
        count += len(packet) // 101
    stream.finish()
    pipe.close()


def test_a_pipe_that_another_process_has_made_non_blocking_loses_no_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    stream = QueuedStream(pipe.writer, report)
    for number in range(9000):
        stream.write(f"{number:0100}\n")
    while len(pipe.lines) < 9000:
        pipe.read()
    stream.finish()
    assert count_lines(pipe.read_all()) == 9000


CRASH = """
import logging, sys, structlog
from app.observe.log import configure_logging
configure_logging(color=False)
for number in range(2000):
    structlog.get_logger().info("line", number=number)
logging.getLogger("library").error("from a library")
print("from print", file=sys.stderr)
raise RuntimeError("a crash")
"""


def test_the_last_lines_and_the_traceback_of_a_crash_arrive() -> None:
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, env=clean_environment())
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert [f'"number":{number},' in line for number, line in enumerate(lines[:2000])] == [True] * 2000
    assert "from a library" in lines[2000]
    assert lines[2001] == "from print"
    assert json.loads(lines[2002])["exception"].endswith("\nRuntimeError: a crash")


FORK = """
import os, sys
from app.observe.stream import QueuedStream
sys.stderr = QueuedStream(sys.stderr)
print("before", file=sys.stderr)
if child := os.fork():
    os.waitpid(child, 0)
    print("parent", file=sys.stderr)
else:
    print("child", file=sys.stderr)
    os._exit(0)
"""


def test_a_child_made_by_fork_writes_its_own_lines_once() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, env=clean_environment())
    assert sorted(done.stderr.splitlines()) == ["before", "child", "parent"]
