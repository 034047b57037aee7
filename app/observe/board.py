"""What one process counts and says of itself, in memory that the other processes of the gateway can read (ADR 10).

Laws:
1. Only its process writes to a board. Every process may read it at any time: there is no lock.
2. A cell is eight bytes, and is written whole. So a reader sees the value before or after, and never a mixture.
3. A cell is never given to another name. The next process in the place of one that has died opens the same board and
   goes on from its values, so no counter goes back.
4. A note is text that is replaced as a whole; a reader that meets a change reads again.
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
SIZE = NAMES + CELLS + NOTE * len(NOTES)  # of address space: pages that nobody has touched take no memory
STALE = 3.0  # seconds after which a process that says nothing is taken for dead
LONGEST_NAME = 8 * 1024  # bytes
READS = 3  # of a note that changes while it is read

_NAMES_USED, _CELLS_USED, _PID, _BEAT = range(4)  # cells at the beginning
_HEAD = 8

Name = tuple[str, ...]
"""A kind, and the values of its labels."""


def make_board_files(count: int) -> list[int]:
    """Descriptors of the memory of so many boards, for a process and those that it starts. Raises OSError."""
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
    """Cells by name, and notes. Without `fd` nobody else can read it. `cells` are whole numbers and `floats` are the
    same cells as floating point numbers: who gives a name to a cell says which of the two it is."""

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
        """The first of so many cells in a row under this name, each 0 if the name is new; the same ones each time. None
        where there is no room for another name."""
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
        """Learn the names that have come since the last time."""
        used = self.cells[_NAMES_USED]
        if self._parsed == used:
            return
        for line in bytes(self._memory[self._parsed : used]).splitlines(keepends=True):
            try:
                place, *name = json.loads(line)
            except ValueError:  # it is being written: the next time
                return
            self._note(tuple(name), place)
            self._parsed += len(line)

    def find(self, kind: str, start: int = 0) -> Sequence[tuple[Name, int]]:
        """The labels of a kind, and the first cell of each, as of the last `refresh`; without the first `start`."""
        return self._by_kind.get(kind, [])[start:]

    def get(self, name: Name) -> int | None:
        """The first cell of a name, as of the last `refresh`."""
        return self._places.get(name)

    def beat(self) -> None:
        """This process lives."""
        self.cells[_PID] = os.getpid()
        self.floats[_BEAT] = time.monotonic()

    def leave(self) -> None:
        """This process ends: its gauges count no more."""
        self.floats[_BEAT] = 0.0

    @property
    def pid(self) -> int | None:
        """The process whose board it is; None where it has died."""
        is_alive = time.monotonic() - self.floats[_BEAT] < STALE
        return self.cells[_PID] if is_alive and self.floats[_BEAT] else None

    def write_note(self, name: str, text: bytes) -> None:
        """Replace a note. A text that is too long for it is left out whole."""
        head, body = self._find_note(name)
        if len(text) > len(body):
            return
        head[0] += 1  # odd: it changes
        head[1] = len(text)
        body[: len(text)] = text
        head[0] += 1

    def read_note(self, name: str) -> bytes:
        """Empty if nobody has written it, or if it changed during each of READS readings."""
        head, body = self._find_note(name)
        for _ in range(READS):
            version = head[0]
            text = bytes(body[: head[1]])
            if version % 2 == 0 and head[0] == version:
                return text
        return b""

    def repair(self) -> None:
        """The process before may have died in the middle of a note."""
        for head, _ in map(self._find_note, NOTES):
            if head[0] % 2:
                head[1] = 0
                head[0] += 1

    def _find_note(self, name: str) -> "tuple[memoryview[int], memoryview[int]]":
        """Its head, a version and a length, and the bytes behind it."""
        start = NAMES + CELLS + NOTE * NOTES.index(name)
        body = start + 2 * CELL
        return self._memory[start:body].cast("Q"), self._memory[body : start + NOTE]


Blocks = list[tuple[Board, int]]
"""The first of the cells that have the same name, on each board that has them."""


class Boards:
    """The board of this process, and those of the others of the same gateway."""

    def __init__(self, own: Board, others: tuple[Board, ...] = ()) -> None:
        self.own = own
        self.all = (own, *others)
        self._found: dict[str, dict[Name, Blocks]] = {}
        self._known: dict[tuple[str, Board], int] = {}
        own.repair()

    @classmethod
    def of_files(cls, fds: list[int]) -> "Boards":
        """Those of the memory that `make_board_file` made; the first is that of this process."""
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
        """Those whose process lives."""
        return [board for board in self.all if board.pid is not None]

    def refresh(self) -> None:
        """Learn the names that other processes have given."""
        for board in self.all:
            board.refresh()

    def find(self, kind: str) -> Mapping[Name, Blocks]:
        """For all labels of a kind the first cell on each board that has them, in the order in which they came."""
        found = self._found.setdefault(kind, {})
        for board in self.all:
            known = self._known.get((kind, board), 0)
            new = board.find(kind, known)
            for labels, place in new:
                found.setdefault(labels, []).append((board, place))
            self._known[kind, board] = known + len(new)
        return found
