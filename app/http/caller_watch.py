"""Over ASGI: whether the caller has gone while something is awaited for it."""

import asyncio
import time
from typing import Any, TypeVar

from starlette.types import Receive

from ..deadlines import Deadlines, Wait
from .asgi_exchange import CallerGone

WATCH_AFTER = 0.05  # seconds that something may take before somebody looks whether its caller has gone

_Result = TypeVar("_Result")


class CallerWatch:
    """Waits on behalf of callers, with one timer for all of them."""

    def __init__(self) -> None:
        self._deadlines = Deadlines()

    async def wait(self, future: "asyncio.Future[_Result]", receive: Receive) -> _Result:
        """Its result; CallerGone, with the future cancelled, when the caller went away before it came."""
        look = _Look(receive, future)
        look.timer = self._deadlines.add(time.monotonic() + WATCH_AFTER, look)
        try:
            return await future
        except asyncio.CancelledError:
            if look.caller_gone:
                raise CallerGone from None
            raise
        finally:
            look.stop()


class _Look:
    """Looks, once `future` takes long, whether its caller has gone, and then cancels it."""

    __slots__ = ("_future", "_receive", "_task", "caller_gone", "timer")

    def __init__(self, receive: Receive, future: "asyncio.Future[Any]") -> None:
        self._receive = receive
        self._future = future
        self._task: asyncio.Task[None] | None = None
        self.timer: set[Wait]
        self.caller_gone = False

    def expire(self) -> None:
        """It takes long."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.caller_gone = self._future.cancel()

    def stop(self) -> None:
        self.timer.discard(self)
        task, self._task = self._task, None  # else they would keep each other, and the reply, until a full collection
        if task is not None:
            task.cancel()
