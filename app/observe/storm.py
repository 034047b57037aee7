"""A storm of failures is summed up: thousands of lines that say the same would hide all others, and cost more than the
requests.

Laws:
1. Of one route and slug at most LINES records are made in a second. The rest is counted.
2. A count comes out at the end of its second, and at the latest when the process stops. Counts never overlap: together
   with the records they are all failures.
3. To leave a record out costs one look into a dictionary. The clock is read once for each count.
4. At most MAX_TALLIES pairs of route and slug are counted apart in a second. More count as failures of no route.
5. Without failures there is no timer.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

LINES = 10  # of one route and slug in a second
SECOND = 1.0
MAX_TALLIES = 4096  # routes and slugs in a second


@dataclass(frozen=True, slots=True)
class Summary:
    """How many failures of a route with this slug have no record, and when (of `time.time`) the first of them was."""

    route: str | None
    slug: str
    count: int
    since: float


class Timer(Protocol):
    def cancel(self) -> None: ...


@dataclass(slots=True)
class _Tally:
    seen: int = 0
    since: float = 0.0
    """When the first one was left out."""


class Storm:
    """Says which failures become records. `start_timer` calls a function after so many seconds, in the same thread."""

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
        """Tell it the summaries from now on, behind the others."""
        self._observers.append(observer)

    def admits(self, route: str | None, slug: str) -> bool:
        """Whether this failure is to be a record; if not, it is counted."""
        tally = self._tallies.get((route, slug)) or self._begin(route, slug)
        tally.seen += 1
        if tally.seen <= LINES:
            return True
        if tally.seen == LINES + 1:
            tally.since = self._clock()
        return False

    def sum_up(self) -> None:
        """Tell what was left out, and begin to count again. To be called at the stop, too."""
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
