"""The deadlines of many short waits at the price of few timers: one of an event loop costs four times as much, and
nearly every one of them is called off."""

import asyncio
import time
from collections import deque
from typing import Protocol

TICK = 0.01  # seconds that a deadline may be found late
TURN = 0.004  # seconds of a turn of the loop that those of one instant may take


class Wait(Protocol):
    """Something that ends when its time is up. `expire` may not raise."""

    def expire(self) -> None: ...


class Deadlines:
    """Calls `expire` of each wait once its deadline, an instant of `time.monotonic`, has passed: never before, and at
    most TICK after, if the loop is free. Where very many are due at once, they get TURN of each turn of the loop. For
    use in one event loop at a time."""

    __slots__ = ("_buckets", "_due")

    def __init__(self) -> None:
        self._buckets: dict[int, set[Wait]] = {}
        self._due: deque[set[Wait]] = deque()

    def add(self, deadline: float, wait: Wait) -> set[Wait]:
        """The set that the wait is in: discard it there, and it is called off."""
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
        if number * TICK > time.monotonic():  # the clock of a loop is coarser than this one
            self._call_at(number)
            return
        self._due.append(self._buckets.pop(number))
        if len(self._due) == 1:
            self._expire_due()

    def _expire_due(self) -> None:
        """Those whose time is up, a few in each turn of the loop."""
        end = time.monotonic() + TURN
        while self._due:
            bucket = self._due[0]
            while bucket:
                bucket.pop().expire()
                if time.monotonic() > end:
                    asyncio.get_running_loop().call_soon(self._expire_due)
                    return
            self._due.popleft()
