"""What every response adds to the counters of its process: plain numbers on a board, without a lock.

A response only leaves its numbers in a list of its route, method and status. Every quarter of a second all numbers of a
list are added to a block of cells at once: to look for the bucket of each by itself would take three times as long. The
sums over methods and statuses are made when somebody asks. `le` of a bucket includes its bound, as Prometheus has it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import add
from typing import NamedTuple, Protocol

from ..errors import Delivered
from .board import Blocks, Board

TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the buckets of times, in seconds."""
SIZES = (1024, 16 * 1024, 256 * 1024, 1024 * 1024, 16 * 1024 * 1024)
"""Bounds of the buckets of sizes, in bytes."""
OTHER_METHOD = "_OTHER"
"""Stands for a method that is not in METHODS (as in OpenTelemetry), so that no caller can make up labels."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"))
OVERFLOW = ("", OTHER_METHOD, "")
"""The labels of responses for which there is no room on the board."""

FIELDS = 4  # numbers of one response
NO_REPLY = -1.0  # in the place of the time that a reply took
MOST_WAITING = 4096 * FIELDS  # numbers in one list
MOST_LISTS = 4096

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


class Answer(Protocol):
    """What is counted of a response. Times are seconds."""

    @property
    def route(self) -> str | None: ...

    @property
    def status(self) -> int: ...

    @property
    def reply_time(self) -> float | None: ...


class Counts:
    """The counters of this process. `flush` is called often: only then others see what was added."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._waiting: dict[tuple[str | None, str | None, int], list[float]] = {}
        """By route, method and status: what was measured of each response since the last flush, FIELDS numbers each."""
        self._problems: dict[tuple[str | None, str, Delivered], int] = {}
        self._overflow = board.allot((RESPONSES, *OVERFLOW), WIDTH) or 0
        self._lost = board.allot((PROBLEMS, *OVERFLOW), 1) or 0

    def add(self, answer: Answer, method: str | None, duration: float, bytes_in: int, bytes_out: int) -> None:
        """One response. `duration` is seconds; sizes are bytes of the bodies."""
        waiting = self._waiting.get((answer.route, method, answer.status))
        if waiting is None:
            waiting = self._begin(answer.route, method, answer.status)
        reply_time = answer.reply_time
        waiting.extend((duration, NO_REPLY if reply_time is None else reply_time, bytes_in, bytes_out))
        if len(waiting) > MOST_WAITING:
            self.flush()

    def _begin(self, route: str | None, method: str | None, status: int) -> list[float]:
        """Callers can make up methods, and services statuses: those that no list is kept for are flushed at once."""
        known = method if method in METHODS else None
        if len(self._waiting) >= MOST_LISTS and (route, known, status) not in self._waiting:
            self.flush()
            self._waiting.clear()
        return self._waiting.setdefault((route, known, status), [])

    def flush(self) -> None:
        """Add what waits to the cells of the board."""
        for (route, method, status), waiting in self._waiting.items():
            if waiting:
                block = self._board.allot((RESPONSES, route or "", method or OTHER_METHOD, str(status)), WIDTH)
                self._add_all(self._overflow if block is None else block, waiting)
                waiting.clear()

    def _add_all(self, block: int, waiting: list[float]) -> None:
        durations, replies, *sizes = (waiting[start::FIELDS] for start in range(FIELDS))
        replies.sort()
        del replies[: bisect_left(replies, 0.0)]  # those without a reply
        for start, times in ((_DURATION, durations), (_UPSTREAM, replies)):
            times.sort()
            self._add_buckets(block + start, TIMES, times)
            self._board.floats[block + start + len(TIMES) + 1] += sum(times)
        for start, bodies in zip((_IN, _OUT), sizes, strict=True):
            bodies.sort()
            self._add_buckets(block + start, SIZES, bodies)
            self._board.cells[block + start + len(SIZES) + 1] += int(sum(bodies))

    def _add_buckets(self, start: int, bounds: Sequence[float], sorted_values: list[float]) -> None:
        """One look for each bucket that is not empty, however many values there are."""
        cells, low, end = self._board.cells, 0, len(sorted_values)
        while low < end:
            number = bisect_left(bounds, sorted_values[low])
            high = bisect_right(sorted_values, bounds[number], low) if number < len(bounds) else end
            cells[start + number] += high - low
            low = high

    def add_problem(self, route: str | None, slug: str, delivered: Delivered) -> None:
        """One failure."""
        cell = self._problems.get((route, slug, delivered))
        if cell is None:
            cell = self._board.allot((PROBLEMS, route or "", slug, delivered), 1)
            if cell is None:
                cell = self._lost
            self._problems[route, slug, delivered] = cell
        self._board.cells[cell] += 1

    def refuse_connection(self, reason: str) -> None:
        """One connection over the cap. `reason` is one of few."""
        cell = self._board.allot((REFUSED, reason), 1)
        if cell is not None:
            self._board.cells[cell] += 1


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
