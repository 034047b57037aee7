"""What every response adds to the counters of its process. They are plain numbers on a board: no lock, no search for
labels, and nothing is made that stays.

A block of cells counts the responses of one route, method and status; the sums over methods and statuses are made when
somebody asks. `le` of a bucket includes its bound, as Prometheus has it.
"""

from bisect import bisect_left
from operator import add
from typing import NamedTuple

from ..errors import Delivered
from .board import Blocks, Board

TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the buckets of times, in seconds."""
SIZES = (1024, 16 * 1024, 256 * 1024, 1024 * 1024, 16 * 1024 * 1024)
"""Bounds of the buckets of sizes, in bytes."""
OTHER_METHOD = "_OTHER"
"""Stands for a method that is none of METHODS (as in OpenTelemetry), so that no caller can make up labels."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"))
OVERFLOW = ("", OTHER_METHOD, "")
"""The labels of responses for which there is no room on the board."""

RESPONSES, PROBLEMS, REFUSED = "responses", "problems", "refused"
"""Kinds of blocks."""

_DURATION = 0
_DURATION_SUM = _DURATION + len(TIMES) + 1
_UPSTREAM = _DURATION_SUM + 1
_UPSTREAM_SUM = _UPSTREAM + len(TIMES) + 1
_IN = _UPSTREAM_SUM + 1
_IN_SUM = _IN + len(SIZES) + 1
_OUT = _IN_SUM + 1
_OUT_SUM = _OUT + len(SIZES) + 1
WIDTH = _OUT_SUM + 1


class Counts:
    """The counters of this process."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._cells = board.cells
        self._floats = board.floats
        self._blocks: dict[tuple[str | None, str | None, int], int] = {}
        self._problems: dict[tuple[str | None, str, Delivered], int] = {}
        self._overflow = board.allot((RESPONSES, *OVERFLOW), WIDTH) or 0
        self._lost = board.allot((PROBLEMS, *OVERFLOW), 1) or 0

    def add(
        self,
        route: str | None,
        method: str | None,
        status: int,
        duration: float,
        reply_time: float | None,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """One response. Times are seconds; sizes are bytes of the bodies. By position: by name it would cost twice as
        much."""
        block = self._blocks.get((route, method, status))
        if block is None:
            block = self._begin(route, method, status)
        cells, floats = self._cells, self._floats
        cells[block + bisect_left(TIMES, duration)] += 1
        floats[block + _DURATION_SUM] += duration
        if reply_time is not None:
            cells[block + _UPSTREAM + bisect_left(TIMES, reply_time)] += 1
            floats[block + _UPSTREAM_SUM] += reply_time
        cells[block + _IN + (bisect_left(SIZES, bytes_in) if bytes_in else 0)] += 1
        cells[block + _IN_SUM] += bytes_in
        cells[block + _OUT + bisect_left(SIZES, bytes_out)] += 1
        cells[block + _OUT_SUM] += bytes_out

    def _begin(self, route: str | None, method: str | None, status: int) -> int:
        name = (RESPONSES, route or "", method if method in METHODS else OTHER_METHOD, str(status))
        block = self._board.allot(name, WIDTH)
        if block is None:
            return self._overflow
        if method in METHODS or method is None:  # else there is no bound on what callers send
            self._blocks[route, method, status] = block
        return block

    def add_problem(self, route: str | None, slug: str, delivered: Delivered) -> None:
        """One failure."""
        cell = self._problems.get((route, slug, delivered))
        if cell is None:
            cell = self._board.allot((PROBLEMS, route or "", slug, delivered), 1)
            if cell is None:
                cell = self._lost
            self._problems[route, slug, delivered] = cell
        self._cells[cell] += 1

    def refuse_connection(self, reason: str) -> None:
        """One connection over the cap. `reason` is one of few."""
        cell = self._board.allot((REFUSED, reason), 1)
        if cell is not None:
            self._cells[cell] += 1


class Distribution(NamedTuple):
    """How many measurements each bucket has, the last one those over all bounds, and the sum of them."""

    buckets: list[int]
    sum: float


class Totals(NamedTuple):
    """Sums of blocks."""

    duration: Distribution
    upstream: Distribution
    bytes_in: Distribution
    bytes_out: Distribution

    @property
    def responses(self) -> int:
        return sum(self.duration.buckets)


def sum_blocks(blocks: Blocks) -> Totals:
    """Of at least one block of responses."""
    cells, durations, upstreams = [0] * WIDTH, 0.0, 0.0
    for board, place in blocks:
        cells = list(map(add, cells, board.cells[place : place + WIDTH].tolist()))
        durations += board.floats[place + _DURATION_SUM]
        upstreams += board.floats[place + _UPSTREAM_SUM]
    return Totals(
        Distribution(cells[_DURATION:_DURATION_SUM], durations),
        Distribution(cells[_UPSTREAM:_UPSTREAM_SUM], upstreams),
        Distribution(cells[_IN:_IN_SUM], cells[_IN_SUM]),
        Distribution(cells[_OUT:_OUT_SUM], cells[_OUT_SUM]),
    )
