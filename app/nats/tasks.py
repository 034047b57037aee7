"""Tasks that run as long as their owner."""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

BROKEN_PAUSE = 2.0  # seconds until a task that failed is started again

_log = structlog.get_logger("nats-http.link")


class Tasks:
    """Tasks of one owner, from `open` to `close`. If a task fails with an exception, that is logged, and the task is
    started again after BROKEN_PAUSE."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = True

    def open(self) -> None:
        """Allow tasks from now on."""
        self._closed = False

    def own(self, start: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a task. After `close` this does nothing."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()

        def take_ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()):
                _log.critical("link-broken", exc_info=error)
                loop.call_later(BROKEN_PAUSE, self.own, start)

        task = loop.create_task(start())
        self._tasks.add(task)
        task.add_done_callback(take_ended)

    async def close(self) -> None:
        """Cancel all tasks, and wait until they have ended. Idempotent."""
        self._closed = True
        while self._tasks:  # again and again: wait_for of Python 3.11 can swallow a cancellation
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.05)
