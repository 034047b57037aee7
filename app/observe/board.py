"""The counters and notes of one process, in memory that the other processes of the gateway can read (ADR 10).

Laws:
1. Only its own process writes to a board. Every process may read it at any time, without a lock.
2. A cell has eight bytes, which are written at once. So a reader sees the old value or the new one, never a mixture.
3. A cell never gets another name. A process that replaces a dead one opens the same board and continues with its
   values. So no counter decreases.
4. A note is a text that is replaced as a whole. If it changes while it is read, it is read again.
"""

import contextlib
import json
import mmap
import os
import tempfile
import time
from collections.abc import Mapping, Sequence

CELL = 8  # bytes
NAMES = 16 * 1024 * 1024  # bytes for the names of cells
CELLS = 40 * 1024 * 1024  # bytes for the cells
NOTE = 256 * 1024  # bytes of one note, with its head
NOTES = ("nats", "failures")
SIZE = NAMES + CELLS + NOTE * len(NOTES)  # bytes of address space: untouched pages take no memory
STALE = 3.0  # seconds without a sign of life, after which a process counts as dead
LONGEST_NAME = 8 * 1024  # bytes
READS = 3  # attempts to read a note that changes

_NAMES_USED, _CELLS_USED, _PID, _BEAT, _READ = range(5)  # the first cells
_HEAD = 8

Name = tuple[str, ...]
"""A kind, and the values of its labels."""


def make_board_files(count: int) -> list[int]:
    """File descriptors of the memory of `count` boards, for this process and its children. Raises OSError."""
    return [_make_board_file() for _ in range(count)]


def _make_board_file() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("nats-http-board")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class Board:
    """Cells by name, and notes. Without `fd` no other process can read it. `cells` and `floats` are the same cells, as
    integers and as floating point numbers. Whoever gives a cell its name decides which of the two it is."""

    def __init__(self, fd: int = -1) -> None:
        self._memory = memoryview(mmap.mmap(fd, SIZE))
        cells = self._memory[NAMES : NAMES + CELLS]
        self.cells = cells.cast("Q")
        self.floats = cells.cast("d")
        self._places: dict[Name, int] = {}
        self._by_kind: dict[str, list[tuple[Name, int]]] = {}
        self._parsed = 0
        self._next = max(_HEAD, self.cells[_CELLS_USED])
        self.refresh()

    def allot(self, name: Name, width: int) -> int | None:
        """The index of the first of `width` adjacent cells with this name. New cells are 0. The same name always gets
        the same cells. None if there is no room for another name."""
        place = self._places.get(name)
        return self._allot_new(name, width) if place is None else place

    def _allot_new(self, name: Name, width: int) -> int | None:
        place, used = self._next, self._parsed
        line = json.dumps([place, *name]).encode("ascii") + b"\n"
        end = place + width
        if end > len(self.cells) or used + len(line) > NAMES or len(line) > LONGEST_NAME:
            return None
        self._memory[used : used + len(line)] = line
        self._next = self.cells[_CELLS_USED] = end
        self._parsed = self.cells[_NAMES_USED] = used + len(line)
        self._note(name, place)
        return place

    def _note(self, name: Name, place: int) -> None:
        self._places[name] = place
        self._by_kind.setdefault(name[0], []).append((name[1:], place))

    def refresh(self) -> None:
        """Read the names that have been added since the last call."""
        used = self.cells[_NAMES_USED]
        if self._parsed == used:
            return
        for line in bytes(self._memory[self._parsed : used]).splitlines(keepends=True):
            try:
                place, *name = json.loads(line)
            except ValueError:  # the line is incomplete: read it next time
                return
            self._note(tuple(name), place)
            self._parsed += len(line)

    def find(self, kind: str, start: int = 0) -> Sequence[tuple[Name, int]]:
        """The labels of this kind, each with its first cell, as of the last `refresh`. The first `start` are left
        out."""
        return self._by_kind.get(kind, [])[start:]

    def get(self, name: Name) -> int | None:
        """The first cell of a name, as of the last `refresh`."""
        return self._places.get(name)

    def beat(self) -> None:
        """Note that this process is alive."""
        self.cells[_PID] = os.getpid()
        self.floats[_BEAT] = time.monotonic()

    def leave(self) -> None:
        """Note that this process ends, so its gauges no longer count."""
        self.floats[_BEAT] = 0.0

    @property
    def pid(self) -> int | None:
        """The process that writes to this board. None if it has ended."""
        is_alive = time.monotonic() - self.floats[_BEAT] < STALE
        return self.cells[_PID] if is_alive and self.floats[_BEAT] else None

    @property
    def last_read(self) -> float:
        """The instant of `time.monotonic` at which this process had last read the metrics of all boards; at first 0."""
        return self.floats[_READ]

    def mark_read(self) -> None:
        """Note that this process has read the metrics of all boards."""
        self.floats[_READ] = time.monotonic()

    def write_note(self, name: str, text: bytes) -> None:
        """Replace a note. If the text is too long, the old note stays."""
        head, body = self._find_note(name)
        if len(text) > len(body):
            return
        head[0] += 1  # odd while the note changes
        head[1] = len(text)
        body[: len(text)] = text
        head[0] += 1

    def read_note(self, name: str) -> bytes:
        """The text of a note. Empty if it was never written, or if it changed during READS attempts."""
        head, body = self._find_note(name)
        for _ in range(READS):
            version = head[0]
            text = bytes(body[: head[1]])
            if version % 2 == 0 and head[0] == version:
                return text
        return b""

    def repair(self) -> None:
        """Clear notes that are incomplete, since the last process on this board may have died while it wrote one."""
        for head, _ in map(self._find_note, NOTES):
            if head[0] % 2:
                head[1] = 0
                head[0] += 1

    def _find_note(self, name: str) -> "tuple[memoryview[int], memoryview[int]]":
        """The head of a note (its version and length), and its bytes."""
        start = NAMES + CELLS + NOTE * NOTES.index(name)
        body = start + 2 * CELL
        return self._memory[start:body].cast("Q"), self._memory[body : start + NOTE]


Blocks = list[tuple[Board, int]]
"""The first cell of a name, on each board that has this name."""


class Boards:
    """The boards of all processes of a gateway."""

    def __init__(self, own: Board, others: tuple[Board, ...] = ()) -> None:
        self.own = own
        self.all = (own, *others)
        self._found: dict[str, dict[Name, Blocks]] = {}
        self._known: dict[tuple[str, Board], int] = {}
        own.repair()

    @classmethod
    def of_files(cls, fds: list[int]) -> "Boards":
        """The boards in the memory of these files, from `make_board_files`. The first is that of this process."""
        own, *others = map(Board, fds)
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)  # the memory stays
        return cls(own, tuple(others))

    @property
    def are_alone(self) -> bool:
        """Whether this process is the only one."""
        return len(self.all) == 1

    @property
    def living(self) -> list[Board]:
        """The boards whose processes are alive."""
        return [board for board in self.all if board.pid is not None]

    def refresh(self) -> None:
        """Read the names that other processes have added."""
        for board in self.all:
            board.refresh()

    def find(self, kind: str) -> Mapping[Name, Blocks]:
        """The labels of this kind, in the order in which they came. Each has its first cell on every board that has
        them."""
        found = self._found.setdefault(kind, {})
        for board in self.all:
            known = self._known.get((kind, board), 0)
            new = board.find(kind, known)
            for labels, place in new:
                found.setdefault(labels, []).append((board, place))
            self._known[kind, board] = known + len(new)
        return found
