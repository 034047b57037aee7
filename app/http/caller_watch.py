"""Notices that a caller leaves while the gateway waits for something on its behalf. Our own server says so at once;
others say so over ASGI."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.types import Receive

from ..deadlines import Deadlines, Wait
from .asgi_exchange import CallerGone, ServerSide

WATCH_AFTER = 0.05  # seconds of waiting after which it is checked whether the caller has gone

_Result = TypeVar("_Result")


async def wait_beside(server: ServerSide, future: "asyncio.Future[_Result]") -> _Result:
    """The result of the future, for a caller of our own server that is still there. If the caller leaves before that,
    cancels the future and raises CallerGone."""
    server.give_up = future.cancel
    try:
        return await future
    except asyncio.CancelledError:
        if server.has_lost_caller():
            raise CallerGone from None
        raise
    finally:
        server.give_up = None  # else it would keep the result until the next request of the connection


class CallerWatch:
    """Waits on behalf of callers, with one timer for all of them."""

    def __init__(self) -> None:
        self._deadlines = Deadlines()

    async def wait(self, future: "asyncio.Future[_Result]", receive: Receive) -> _Result:
        """The result of the future. If the caller leaves before that, cancels the future and raises CallerGone."""
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
    """If `future` takes long, watches whether its caller leaves, and then cancels it."""

    __slots__ = ("_future", "_receive", "_task", "caller_gone", "timer")

    def __init__(self, receive: Receive, future: "asyncio.Future[Any]") -> None:
        self._receive = receive
        self._future = future
        self._task: asyncio.Task[None] | None = None
        self.timer: set[Wait]
        self.caller_gone = False

    def expire(self) -> None:
        """Begin to watch: the future takes long."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.caller_gone = self._future.cancel()

    def stop(self) -> None:
        """Stop watching: the future is done."""
        self.timer.discard(self)
        task, self._task = self._task, None  # else they would keep each other, and the reply, until a full collection
        if task is not None:
            task.cancel()


@asynccontextmanager
async def stay_with(receive: Receive) -> AsyncIterator[None]:
    """Run a block for as long as the caller stays. If it leaves, cancels the block and raises CallerGone."""
    block = asyncio.current_task()
    assert block is not None  # noqa: S101 - for mypy: this is a coroutine
    is_gone = False

    async def look() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = block.cancel()

    before = block.cancelling()
    task = asyncio.get_running_loop().create_task(look())
    try:
        yield
    except asyncio.CancelledError as error:
        if is_gone and block.uncancel() <= before:
            raise CallerGone from error
        raise
    finally:
        task.cancel()
