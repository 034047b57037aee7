"""Token buckets: they count how many requests each of many callers may still send. In memory, and pure.

Laws:
1. A bucket has at most `burst` tokens, and gets `average` tokens in each `period`, evenly. A request takes one token.
   If the bucket is empty the request takes nothing, so a caller who keeps asking does not wait longer.
2. A new caller has a full bucket. So a bucket that is full again can be forgotten.
3. At most MAX_CALLERS buckets are kept for each limit (20 MiB), and MAX_IN_ALL for all limits. If there are more, the
   least recently used bucket is forgotten, and its caller has a full bucket again. Nobody is refused because of others.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 65_536
MAX_IN_ALL = 2 * MAX_CALLERS

By = str
"""What requests of one bucket have in common: `ip`, `key`, `route`, or `claim:NAME`."""

_TOLERANCE = 1e-3
"""The part of a token that rounding may take away. Such errors do not add up."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit with its name: `average` requests in each `period` (seconds), and at most `burst` at once. `by` says
    which requests count together."""

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
        """The name of the claim, if the limit counts by a claim, else empty."""
        return self.by.partition(":")[2]

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.average / self.period


class Buckets:
    """The buckets of one limit. A bucket is stored as the instant at which it is full again."""

    def __init__(self, limit: Limit, *, most: int = MAX_CALLERS) -> None:
        self.limit = limit
        self.most = most
        """The most buckets that are kept. If it is lowered, surplus buckets go when new ones come."""
        self._burst = limit.burst
        self._rate = limit.rate
        self._interval = 1 / limit.rate
        self._full: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def take(self, key: str, now: float) -> float:
        """Take one token from the bucket of this name. `now` is an instant of a monotonic clock. Returns the number of
        tokens that are left. If there was no whole token, it takes nothing and returns a number below 0: minus the
        part of a token that was missing."""
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
        """Make room for one more bucket. Removes up to two buckets that are full again, and at least one bucket if
        there are too many."""
        full = self._full
        for _ in range(2):
            if not full or (full[next(iter(full))] > now and len(full) < self.most):
                return
            full.popitem(last=False)
