"""Sums up many equal failures. Thousands of equal lines would hide all others, and cost more than the requests.

Laws:
1. At most LINES failures a second with the same route and slug become records. The others are counted.
2. A count is reported at the end of its second, and at the stop of the process. No failure counts twice: records and
   counts together are all failures.
3. A failure without a record costs one look into a dictionary. The clock is read once for each count.
4. At most MAX_TALLIES pairs of route and slug are counted separately in a second. Others count as failures of no route.
5. Without failures there is no timer.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

LINES = 10  # a second, for one route and slug
SECOND = 1.0
MAX_TALLIES = 4096  # routes and slugs in a second


@dataclass(frozen=True, slots=True)
class Summary:
    """The number of failures of this route and slug without a record, and the `time.time` of the first of them."""

    route: str | None
    slug: str
    count: int
    since: float


class Timer(Protocol):
    """A timer that can be called off, such as that of asyncio."""

    def cancel(self) -> None: ...


@dataclass(slots=True)
class _Tally:
    seen: int = 0
    since: float = 0.0
    """The time of the first failure without a record."""


class Storm:
    """Decides which failures become records. `start_timer` calls a function after some seconds, in the same thread."""

    def __init__(
        self,
        start_timer: Callable[[float, Callable[[], None]], Timer],
        observers: Iterable[Callable[[Summary], None]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._start_timer = start_timer
        self._observers = list(observers)
        self._clock = clock
        self._tallies: dict[tuple[str | None, str], _Tally] = {}
        self._timer: Timer | None = None

    def add_observer(self, observer: Callable[[Summary], None]) -> None:
        """Call this function with each summary from now on, after the others."""
        self._observers.append(observer)

    def admits(self, route: str | None, slug: str) -> bool:
        """Whether this failure becomes a record. If not, it is counted."""
        tally = self._tallies.get((route, slug)) or self._begin(route, slug)
        tally.seen += 1
        if tally.seen <= LINES:
            return True
        if tally.seen == LINES + 1:
            tally.since = self._clock()
        return False

    def sum_up(self) -> None:
        """Report the counts to the observers, and start again at 0. Call this at the stop as well."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tallies, self._tallies = self._tallies, {}
        for (route, slug), tally in tallies.items():
            if tally.seen > LINES:
                for observer in self._observers:
                    observer(Summary(route, slug, tally.seen - LINES, tally.since))

    def _begin(self, route: str | None, slug: str) -> _Tally:
        if self._timer is None:
            self._timer = self._start_timer(SECOND, self.sum_up)
        key = (route if len(self._tallies) < MAX_TALLIES else None, slug)
        return self._tallies.setdefault(key, _Tally())
