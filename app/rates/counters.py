"""Keeps the buckets of all limits over a reload. A limit that a reload does not change keeps its counts."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..edge.buckets import MAX_CALLERS, MAX_IN_ALL
from ..edge.rate_limit import Counter
from .storage import SharedStorage

if TYPE_CHECKING:
    from ..edge.buckets import Buckets, Limit


class Counters:
    """Gives counters their buckets and their storage. An async context manager: enter it in the event loop that serves
    the requests. With a `url` requests are counted in the storage there. With `is_closed` they are refused while it is
    away."""

    def __init__(self, url: str | None = None, *, is_closed: bool = False) -> None:
        self._storage = None if url is None else SharedStorage(url, is_closed=is_closed)
        self._buckets: dict[Limit, Buckets] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._storage is not None:
            await self._open.enter_async_context(self._storage)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def use(self, counters: Iterable[Counter]) -> None:
        """Count for these counters from now on, and for no others."""
        counters = list(counters)
        share = min(MAX_CALLERS, MAX_IN_ALL // max(1, len(counters)))
        for counter in counters:
            counter.buckets = self._buckets.get(counter.limit, counter.buckets)
            counter.buckets.most = share
            counter.storage = self._storage
        self._buckets = {counter.limit: counter.buckets for counter in counters}
