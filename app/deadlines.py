"""The deadlines of many short waits, with few timers. A timer of the event loop for each wait would cost four times as
much, and nearly all waits end before their deadline."""

import asyncio
import time
from collections import deque
from typing import Protocol

TICK = 0.01  # seconds; a wait expires at most this much late
TURN = 0.004  # seconds that expired waits may take in one turn of the loop


class Wait(Protocol):
    """Something that ends at its deadline. `expire` may not raise."""

    def expire(self) -> None:
        """End the wait: its deadline has passed."""


class Deadlines:
    """Calls `expire` of each wait once its deadline, an instant of `time.monotonic`, has passed: never before, and at
    most TICK after it, if the loop is free. If very many waits are due at once, they get TURN of each turn of the loop.
    Use it in one event loop at a time."""

    __slots__ = ("_buckets", "_due")

    def __init__(self) -> None:
        self._buckets: dict[int, set[Wait]] = {}
        self._due: deque[set[Wait]] = deque()

    def add(self, deadline: float, wait: Wait) -> set[Wait]:
        """Add a wait. Returns the set that contains it: discard it from this set to call it off."""
        number = int(deadline / TICK) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = set()
            self._call_at(number)
        bucket.add(wait)
        return bucket

    def _call_at(self, number: int) -> None:
        delay = max(0.0, number * TICK - time.monotonic())
        asyncio.get_running_loop().call_later(delay, self._expire, number)

    def _expire(self, number: int) -> None:
        if number * TICK > time.monotonic():  # too early, since the clock of the loop is coarser
            self._call_at(number)
            return
        self._due.append(self._buckets.pop(number))
        if len(self._due) == 1:
            self._expire_due()

    def _expire_due(self) -> None:
        """Expire the waits that are due, for at most TURN in each turn of the loop."""
        end = time.monotonic() + TURN
        while self._due:
            bucket = self._due[0]
            while bucket:
                bucket.pop().expire()
                if time.monotonic() > end:
                    asyncio.get_running_loop().call_soon(self._expire_due)
                    return
            self._due.popleft()
