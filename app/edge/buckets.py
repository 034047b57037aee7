"""Token buckets: how many requests each of many callers has left. In memory, and pure.

Laws:
1. A bucket has at most `burst` tokens, and gets `average` of them in each `period`, evenly. A request takes one; where
   there is none it takes nothing, so that a caller who goes on asking waits no longer for it.
2. A caller who is not known has a full bucket. So a bucket that is full again is forgotten without a difference.
3. At most MAX_CALLERS buckets are kept for each limit, in 20 MiB, and MAX_IN_ALL for all limits. Beyond, the one that
   was asked for least recently is forgotten: its caller has a full one again. Nobody is refused because of others.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 65_536
MAX_IN_ALL = 2 * MAX_CALLERS

By = str
"""What is counted apart: `ip`, `key`, `route`, or `claim:NAME`."""

_TOLERANCE = 1e-3
"""Of a token: what rounding may take away. It does not add up."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit under its name: `average` requests each `period`, in seconds, and at most `burst` at once, for whatever
    `by` counts apart."""

    name: str
    average: int
    period: float
    burst: int
    by: By

    @property
    def kind(self) -> str:
        return self.by.partition(":")[0]

    @property
    def claim(self) -> str:
        """The name of the claim, where that is counted."""
        return self.by.partition(":")[2]

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.average / self.period


class Buckets:
    """The buckets of one limit. Each is kept as the instant at which it is full again."""

    def __init__(self, limit: Limit, *, most: int = MAX_CALLERS) -> None:
        self.limit = limit
        self.most = most
        """How many are kept. Where it is lowered, those beyond go with the next new ones."""
        self._burst = limit.burst
        self._rate = limit.rate
        self._interval = 1 / limit.rate
        self._full: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def take(self, key: str, now: float) -> float:
        """Take one token of the bucket of this name; `now` is an instant of a monotonic clock. Returns how many are
        left, or where there was none, which is less than 0, how much of one was missing."""
        full = self._full.get(key)
        if full is None:
            self._make_room(now)
            self._full[key] = now + self._interval
            return self._burst - 1
        self._full.move_to_end(key)
        if full < now:
            full = now
        left = self._burst - 1 - (full - now) * self._rate
        if left < -_TOLERANCE:
            return left
        self._full[key] = full + self._interval
        return left if left > 0 else 0.0

    def _make_room(self, now: float) -> None:
        """For one more: up to two go that are full again, and one in any case where there are too many."""
        full = self._full
        for _ in range(2):
            if not full or (full[next(iter(full))] > now and len(full) < self.most):
                return
            full.popitem(last=False)
