"""Counts responses: each adds numbers to a board of its process, without a lock.

A response only appends its numbers to a list of its route, method and status. Every quarter of a second, all numbers of
a list are added to a block of cells. To find the bucket of each number separately would take three times as long. The
sums over methods and statuses are computed when they are asked for. A bucket includes its upper bound (`le`), as in
Prometheus.
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
"""Counts instead of a method that is not in METHODS, as in OpenTelemetry. So callers can't invent labels."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"))
OVERFLOW = ("", OTHER_METHOD, "")
"""The labels that count for all responses if the board has no room for more labels."""

FIELDS = 4  # numbers for each response
NO_REPLY = -1.0  # instead of the time of a reply
MOST_WAITING = 4096 * FIELDS  # numbers in one list
MOST_LISTS = 4096

RESPONSES, PROBLEMS, REFUSED = "responses", "problems", "refused"
"""The kinds of blocks."""

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
    """The numbers of a response that are counted. Times are seconds."""

    @property
    def route(self) -> str | None: ...

    @property
    def status(self) -> int: ...

    @property
    def reply_time(self) -> float | None: ...


class Counts:
    """The counters of this process. Others see new numbers only after `flush`, so call it often."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._waiting: dict[tuple[str | None, str | None, int], list[float]] = {}
        """By route, method and status: FIELDS numbers for each response since the last flush."""
        self._problems: dict[tuple[str | None, str, Delivered], int] = {}
        self._overflow = board.allot((RESPONSES, *OVERFLOW), WIDTH) or 0
        self._lost = board.allot((PROBLEMS, *OVERFLOW), 1) or 0

    def add(self, answer: Answer, method: str | None, duration: float, bytes_in: int, bytes_out: int) -> None:
        """Count one response. `duration` is seconds. Sizes are bytes of the bodies."""
        waiting = self._waiting.get((answer.route, method, answer.status))
        if waiting is None:
            waiting = self._begin(answer.route, method, answer.status)
        reply_time = answer.reply_time
        waiting.extend((duration, NO_REPLY if reply_time is None else reply_time, bytes_in, bytes_out))
        if len(waiting) > MOST_WAITING:
            self.flush()

    def _begin(self, route: str | None, method: str | None, status: int) -> list[float]:
        """The list for a response. Callers can invent methods, and services statuses. So unknown methods share
        a list, and if there are too many lists, all are flushed and forgotten."""
        known = method if method in METHODS else None
        if len(self._waiting) >= MOST_LISTS and (route, known, status) not in self._waiting:
            self.flush()
            self._waiting.clear()
        return self._waiting.setdefault((route, known, status), [])

    def flush(self) -> None:
        """Add all waiting numbers to the cells of the board."""
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
        """Searches once for each bucket that is not empty, however many values there are."""
        cells, low, end = self._board.cells, 0, len(sorted_values)
        while low < end:
            number = bisect_left(bounds, sorted_values[low])
            high = bisect_right(sorted_values, bounds[number], low) if number < len(bounds) else end
            cells[start + number] += high - low
            low = high

    def add_problem(self, route: str | None, slug: str, delivered: Delivered) -> None:
        """Count one failure."""
        cell = self._problems.get((route, slug, delivered))
        if cell is None:
            cell = self._board.allot((PROBLEMS, route or "", slug, delivered), 1)
            if cell is None:
                cell = self._lost
            self._problems[route, slug, delivered] = cell
        self._board.cells[cell] += 1

    def refuse_connection(self, reason: str) -> None:
        """Count one connection above the limit. There are only a few values of `reason`."""
        cell = self._board.allot((REFUSED, reason), 1)
        if cell is not None:
            self._board.cells[cell] += 1


class Distribution(NamedTuple):
    """The number of measurements in each bucket, and their sum. The last bucket is for those above all bounds."""

    buckets: list[int]
    sum: float


class Totals(NamedTuple):
    """The sums of several blocks."""

    duration: Distribution
    upstream: Distribution
    bytes_in: Distribution
    bytes_out: Distribution

    @property
    def responses(self) -> int:
        """The number of responses."""
        return sum(self.duration.buckets)


def sum_blocks(blocks: Blocks) -> Totals:
    """Add up blocks of responses."""
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
