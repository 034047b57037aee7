"""Counts requests in a shared storage, so that many gateways, and all workers of a gateway, have the same limits.

Laws:
1. A request waits at most LIMIT seconds for the storage, whatever the storage does.
2. At most MAX_ASKING requests ask at a time, each on its own connection. Others wait for their turn, within LIMIT.
3. If the storage does not answer, it counts as away for PAUSE seconds: no request asks or waits. Then one request asks
   whether it is back. It continues to ask even if its caller leaves, so that no caller can keep the storage away.
4. The log says once that the storage is away, and once that it is back. It shows the host, and no other part of the
   address.
"""

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import structlog

from ..edge.buckets import Limit

if TYPE_CHECKING:
    from .client import StorageClient

LIMIT = 0.2  # seconds
PAUSE = 1.0  # seconds
MAX_ASKING = 64

_Left = TypeVar("_Left")
_log = structlog.get_logger("nats-http.rates")


class StorageFailed(Exception):
    """The storage has failed. The text says why. It contains no part of the storage's answer."""


class SharedStorage:
    """The storage at this URL. An async context manager: enter it in the event loop that serves the requests. With
    `is_closed` requests are refused while it is away."""

    def __init__(self, url: str, *, is_closed: bool) -> None:
        self.is_closed = is_closed
        self._url = url
        self._client: StorageClient | None = None
        self._turns = asyncio.Semaphore(MAX_ASKING)
        self._asking: set[asyncio.Task[Any]] = set()
        self._retry_at: float | None = None
        """The instant after which one request asks again; None unless the storage is away."""

    async def __aenter__(self) -> Self:
        self._client = await asyncio.to_thread(_open, self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if self._asking:
            await asyncio.wait(self._asking)  # each ends by itself
        if client is not None:
            await client.close()

    @property
    def is_away(self) -> bool:
        """As in Storage."""
        return self._retry_at is not None and time.monotonic() < self._retry_at

    async def take(self, limit: Limit, key: str) -> float | None:
        """As `Buckets.take`. None if the storage does not answer in time, or is away."""
        if self._client is None or self.is_away:
            return None
        if self._retry_at is None:
            return await self._ask_and_note(self._client, limit, key)
        self._retry_at = time.monotonic() + PAUSE  # others count it as away until this request has an answer
        return await asyncio.shield(self._start(self._ask_and_note(self._client, limit, key)))

    async def _ask_and_note(self, client: "StorageClient", limit: Limit, key: str) -> float | None:
        """Ask the storage, and note whether it is away. Returns None if it does not answer."""
        try:
            left = await self._ask(client, limit, key)
        except StorageFailed as error:
            self._note_failure(str(error))
            return None
        if self._retry_at is not None:
            self._retry_at = None
            _log.info("rate-limit-storage-back", storage=client.host)
        return left

    async def _ask(self, client: "StorageClient", limit: Limit, key: str) -> float:
        """Ask in a separate task, so that the request waits at most LIMIT: redis-py sometimes loses a cancellation and
        continues until its own timeout. Raises StorageFailed."""
        asking = self._start(self._ask_in_turn(client, limit, key))
        try:
            if not (await asyncio.wait((asking,), timeout=LIMIT))[0]:
                raise StorageFailed(f"no answer within {LIMIT:g} seconds")
            return asking.result()
        finally:
            asking.cancel()

    async def _ask_in_turn(self, client: "StorageClient", limit: Limit, key: str) -> float:
        async with self._turns:
            return await client.take(limit, key)

    def _start(self, asking: Coroutine[None, None, _Left]) -> "asyncio.Task[_Left]":
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, asked: "asyncio.Task[Any]") -> None:
        self._asking.discard(asked)
        if not asked.cancelled():
            asked.exception()  # so that asyncio does not report it as never retrieved

    def _note_failure(self, reason: str) -> None:
        if self._retry_at is None and self._client is not None:
            then = "refused" if self.is_closed else "counted by each worker"
            _log.warning("rate-limit-storage-away", storage=self._client.host, reason=reason, requests=then)
        self._retry_at = time.monotonic() + PAUSE


def _open(url: str) -> "StorageClient":
    """Make the client. Call this in a thread: it takes long to import the libraries."""
    from .client import StorageClient

    return StorageClient(url)
