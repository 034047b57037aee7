"""How late timers of this process come on a busy machine. Its callers then see answers too late as well."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

PAUSE = 0.1  # seconds of a timer


class Lag:
    """The most so far, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0

    @contextlib.asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """Measure until it is left."""
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
            self.worst = max(self.worst, time.monotonic() - due)
