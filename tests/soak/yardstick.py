"""How fast the machine is just now: CPU that a fixed piece of work takes.

A processor that others use too takes more CPU time for the same work, since they share its caches and its clock. So
CPU a request is compared between two parts of a run only after it is divided by what this work took in each part.
"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator

PAUSE = 0.5  # seconds between two measurements
_WORK = [{"id": number, "words": [str(number + i) for i in range(20)]} for number in range(100)]


def measure() -> float:
    """Seconds of CPU for the work, some milliseconds."""
    began = time.thread_time()
    for _ in range(4):
        found = json.loads(json.dumps(_WORK))
        sorted(found, key=lambda item: str(item["words"]))
    return time.thread_time() - began


class Yardstick:
    """The median of many measurements."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self.lag = 0.0
        """Seconds by which a timer of this process came too late, at most. Its callers then see answers too late."""

    @property
    def seconds(self) -> float:
        """CPU for the work since the last `measuring` began."""
        return statistics.median(self._seconds)

    @contextlib.asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """Measure again and again until it is left."""
        self._seconds = [measure()]
        task = asyncio.create_task(self._go_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            due = time.monotonic() + PAUSE
            await asyncio.sleep(PAUSE)
            self.lag = max(self.lag, time.monotonic() - due)
            self._seconds.append(measure())
