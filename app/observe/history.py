"""The last five minutes of all routes, over all processes: rates, shares, and times.

It reads the counters at intervals, and keeps only the difference between one STEP and the next. A route without
requests takes only the memory of its name.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import add, sub
from typing import NamedTuple

from ..errors import ERRORS
from ..pieces import Steps
from .board import Boards
from .counts import PROBLEMS, RESPONSES, TIMES, sum_blocks

STEP = 5.0  # seconds
STEPS = 60  # that are kept
RECENT = 2  # steps that the rate covers
WINDOW = 12  # steps that shares and times cover

NO_RESPONDERS = "no-responders"
_FAULTS = frozenset(error.slug for error in ERRORS if error.status >= 500)


class Sums(NamedTuple):
    """Counts of responses, of those with 4xx and with 5xx, and of replies of services; and the buckets of TIMES."""

    responses: int = 0
    refused: int = 0
    failed: int = 0
    replies: int = 0
    durations: Sequence[int] = ()

    def plus(self, other: "Sums") -> "Sums":
        """The sum of both."""
        return _combine(add, self, other)

    def minus(self, other: "Sums") -> "Sums":
        """The difference to `other`."""
        return _combine(sub, self, other)


def _combine(operate: Callable[[int, int], int], one: Sums, other: Sums) -> Sums:
    responses, refused, failed, replies = map(operate, one[:4], other[:4])
    return Sums(responses, refused, failed, replies, tuple(map(operate, one.durations, other.durations)))


NOTHING = Sums(durations=(0,) * (len(TIMES) + 1))


class RouteState(NamedTuple):
    """The current state of one route.

    - `rate`: requests a second.
    - `failing`, `refused`: the shares of 5xx and 4xx.
    - `p50`, `p95`, `p99`: seconds. None without requests.
    - `spark`: the rate in each step, the oldest first. Empty if all are 0.
    - `answered`: whether a service answered the last requests. None if that is not known.
    - `slug`: the most frequent failure.
    """

    rate: float
    failing: float
    refused: float
    p50: float | None
    p95: float | None
    p99: float | None
    spark: Sequence[float]
    answered: bool | None
    slug: str | None


class _Track:
    """The counts of one route: the totals, and the steps until now."""

    __slots__ = ("answered", "before", "now", "steps")

    def __init__(self) -> None:
        self.now = self.before = NOTHING
        self.steps: deque[Sums] = deque(maxlen=STEPS)
        self.answered: bool | None = None

    def end_step(self) -> None:
        self.steps.append(self.now.minus(self.before) if self.now != self.before else NOTHING)
        self.before = self.now

    def sum_last(self, count: int) -> Sums:
        """The sum of the current step and the last `count` steps before it."""
        total = self.now.minus(self.before)
        for step in islice(reversed(self.steps), count):
            if step.responses:
                total = total.plus(step)
        return total


class History:
    """The history of all routes with requests. The name `""` is for responses that belong to no route."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards
        self._tracks: dict[str, _Track] = {}
        self._failures: dict[str, dict[str, _Failures]] = {}
        self._total = _Track()
        self._step_at: float | None = None
        self._now = 0.0

    def sample(self, now: float) -> Steps[None]:
        """Read all counters, in short steps. `now` is an instant of `time.monotonic`. If the STEP is over, a new one
        begins."""
        self._boards.refresh()
        yield from self._read_responses()
        yield from self._read_failures()
        is_first, self._now = self._step_at is None, now
        if self._step_at is None or now - self._step_at >= STEP:
            yield from self._end_step(is_first=is_first)
            self._step_at = now

    def _read_responses(self) -> Steps[None]:
        found: dict[str, Sums] = {}
        total = NOTHING
        for (route, _, code), blocks in list(self._boards.find(RESPONSES).items()):
            totals = sum_blocks(blocks)
            buckets = totals.duration.buckets
            count = sum(buckets)
            kind = code[:1]
            sums = Sums(count, count * (kind == "4"), count * (kind == "5"), sum(totals.upstream.buckets), buckets)
            found[route] = found.get(route, NOTHING).plus(sums)
            if route or kind == "4":  # without pages, which people look at
                total = total.plus(sums)
            yield
        failed = self._count_failures_of_no_route()
        total = total.plus(NOTHING._replace(responses=failed, failed=failed))
        for route, sums in found.items():
            track = self._tracks.setdefault(route, _Track())
            if sums.replies > track.now.replies:
                track.answered = True
            track.now = sums
        self._total.now = total

    def _count_failures_of_no_route(self) -> int:
        """The failures of no route: a 5xx without a problem is a page that says so, such as `/readyz`."""
        blocks = (
            blocks for (route, slug, _), blocks in self._boards.find(PROBLEMS).items() if not route and slug in _FAULTS
        )
        return sum(board.cells[place] for found in blocks for board, place in found)

    def _read_failures(self) -> Steps[None]:
        for (route, slug, _), blocks in list(self._boards.find(PROBLEMS).items()):
            failures = self._failures.setdefault(route, {}).setdefault(slug, _Failures())
            failures.add(sum(board.cells[place] for board, place in blocks))
            yield
        for route, by_slug in self._failures.items():
            grown = {slug for slug, failures in by_slug.items() if failures.settle()}
            track = self._tracks.get(route)
            if NO_RESPONDERS in grown and track and not track.sum_last(0).replies:
                track.answered = False
            yield

    def _end_step(self, *, is_first: bool) -> Steps[None]:
        """End the step of all routes. Numbers from before the first `sample` belong to no step."""
        for track in (self._total, *self._tracks.values()):
            if is_first:
                track.before = track.now
            else:
                track.end_step()
            yield
        for by_slug in self._failures.values():
            for failures in by_slug.values():
                failures.end_step(is_first=is_first)
            yield

    def describe_all(self) -> RouteState:
        """The state of all routes together."""
        return self._describe(self._total, slug=None)

    def describe(self, route: str) -> RouteState:
        """The state of this route."""
        track = self._tracks.get(route)
        return UNUSED if track is None else self._describe(track, slug=self._find_slug(route))

    def _describe(self, track: _Track, *, slug: str | None) -> RouteState:
        window, recent = track.sum_last(WINDOW), track.sum_last(RECENT)
        elapsed = self._now - (self._step_at or self._now)
        seconds = elapsed + STEP * min(RECENT, len(track.steps))
        count = window.responses
        spark = [0.0] * (STEPS - len(track.steps)) + [step.responses / STEP for step in track.steps]
        p50, p95, p99 = (find_quantile(window.durations, share) for share in (0.5, 0.95, 0.99))
        return RouteState(
            rate=recent.responses / max(seconds, 1.0),
            failing=window.failed / count if count else 0.0,
            refused=window.refused / count if count else 0.0,
            p50=p50,
            p95=p95,
            p99=p99,
            spark=spark if any(spark) else (),
            answered=track.answered,
            slug=slug if window.failed else None,
        )

    def _find_slug(self, route: str) -> str | None:
        """The most frequent failure of the last WINDOW steps."""
        counts = {slug: failures.recent for slug, failures in self._failures.get(route, {}).items()}
        slug = max(counts, key=counts.__getitem__, default=None)
        return slug if slug is not None and counts[slug] else None


UNUSED = RouteState(0.0, 0.0, 0.0, None, None, None, (), None, None)
"""The state of a route that has had no request."""


class _Failures:
    """How often a route has failed with one slug."""

    __slots__ = ("_before", "_now", "_reading", "_steps")

    def __init__(self) -> None:
        self._reading = self._now = self._before = 0
        self._steps: deque[int] = deque(maxlen=WINDOW)

    def add(self, count: int) -> None:
        self._reading += count

    def settle(self) -> bool:
        """End a reading. Returns whether it found more failures than the last one."""
        has_more = self._reading > self._now
        self._now, self._reading = self._reading, 0
        return has_more

    def end_step(self, *, is_first: bool) -> None:
        if not is_first:
            self._steps.append(self._now - self._before)
        self._before = self._now

    @property
    def recent(self) -> int:
        """The number of failures in the last WINDOW steps and the current one."""
        return self._now - self._before + sum(self._steps)


def find_quantile(buckets: Sequence[float], share: float, bounds: Sequence[float] = TIMES) -> float | None:
    """A quantile in seconds, as `histogram_quantile` of Prometheus computes it. `buckets` has the number of values up
    to each of `bounds`, and those over the last one. Values count as evenly spread within a bucket. Values over the
    last bound count as this bound. None without values."""
    total = sum(buckets)
    if not total:
        return None
    rank, below = share * total, 0.0
    for number, count in enumerate(buckets[: len(bounds)]):
        if below + count >= rank:
            start = bounds[number - 1] if number else 0.0
            return start + (bounds[number] - start) * (rank - below) / count
        below += count
    return bounds[-1]
