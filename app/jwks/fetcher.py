"""Fetches the public keys of issuers in the background, so that requests find them in memory.

Laws:
1. A request waits for keys only if its token names an unknown key. Such requests share one fetch at a time, and at most
   one in PAUSE seconds. When it has ended, WAKES of them continue in each turn of the event loop, since thousands may
   wait.
2. The keys stay while the issuer is away, or if its answer is not a JWK set.
3. An answer has at most MAX_ANSWER bytes, and is complete within LIMIT. Redirects are not followed: only the URL of the
   route file is trusted.
4. Each URL has one task. It ends when no scheme needs it, or with the fetcher.
"""

import asyncio
import contextlib
import math
import random
import time
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from ..edge.key_sets import IssuerKey, KeySet

if TYPE_CHECKING:
    from .client import IssuerClient

LIMIT = 5.0  # seconds that a fetch may take
MAX_ANSWER = 256 * 1024  # bytes
REFRESH = 300.0  # seconds between two fetches
PAUSE = 30.0  # seconds between two fetches for unknown keys
WAKES = 4  # requests that continue in one turn of the event loop
FIRST_RETRY, LAST_RETRY = 1.0, 60.0  # seconds until the next try after a failed fetch; each pause is twice the last one

_Waiting = OrderedDict[asyncio.Future[None], None]

_log = structlog.get_logger("nats-http.jwks")


class FetchFailed(Exception):
    """A fetch has failed. The text says why. It contains no part of the address or of the answer."""


class JwksFetcher:
    """Keeps key sets up to date. An async context manager: enter it in the event loop that uses the sets. Leaving it
    ends all fetches."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._wanted: list[KeySet] = []
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        self.use(self._wanted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        sources, self._sources = list(self._sources.values()), {}
        for source in sources:
            source.close()
        await asyncio.gather(*(source.ended() for source in sources))

    def use(self, sets: Iterable[KeySet]) -> None:
        """Keep these sets up to date from now on, and no others. A set whose URL was used before gets its keys at
        once."""
        self._wanted = [keys for keys in sets if keys.url is not None]
        if not self._is_open:
            return
        by_url: dict[str, list[KeySet]] = {}
        for keys in self._wanted:
            by_url.setdefault(keys.url or "", []).append(keys)
        for url in self._sources.keys() - by_url.keys():
            self._sources.pop(url).close()
        for url, same in by_url.items():
            if url not in self._sources:
                self._sources[url] = _Source(url)
            self._sources[url].serve(same)


class _Source:
    """One URL, the sets that get its keys, and the task that fetches them. Make it in a running event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = url.partition("?")[0]
        """The query may have a secret."""
        self._sets: list[KeySet] = []
        self._keys: tuple[IssuerKey, ...] | None = None
        self._has_failed = False
        self._asked_at = -PAUSE  # an instant
        self._wanted = asyncio.Event()
        self._is_fetching = True  # the task begins with a fetch
        self._waiting: _Waiting = OrderedDict()
        """The requests that wait for a fetch. Each has its own connection, so the limit of connections bounds them."""
        self._task = asyncio.create_task(self._run())

    def serve(self, sets: list[KeySet]) -> None:
        self._sets = sets
        for keys in sets:
            keys.fetch = self.fetch
            keys.has_failed = self._has_failed
            if self._keys is not None:
                keys.replace(self._keys)

    def close(self) -> None:
        """End the task."""
        self._task.cancel()
        self._end_fetch()

    async def ended(self) -> None:
        """Wait for the end of the task."""
        await asyncio.wait({self._task})

    async def fetch(self) -> None:
        """Call this for an unknown key. Waits for the current fetch, or else for a new one. Returns at once if the last
        fetch for an unknown key began less than PAUSE seconds ago."""
        now = time.monotonic()
        if not self._is_fetching and now - self._asked_at >= PAUSE:
            self._asked_at = now
            self._is_fetching = True
            self._wanted.set()
        if not self._is_fetching:
            return
        waiting, one = self._waiting, asyncio.get_running_loop().create_future()
        waiting[one] = None
        try:
            await one
        finally:
            waiting.pop(one, None)

    def _end_fetch(self) -> None:
        self._is_fetching = False
        waiting, self._waiting = self._waiting, OrderedDict()
        self._wake(waiting)

    def _wake(self, waiting: _Waiting) -> None:
        for _ in range(min(WAKES, len(waiting))):
            one, _ = waiting.popitem(last=False)
            if not one.done():  # a cancelled one is still here until the end of this turn
                one.set_result(None)
        if waiting:
            asyncio.get_running_loop().call_soon(self._wake, waiting)

    async def _run(self) -> None:
        try:
            async with await asyncio.to_thread(_open, self._url) as client:
                await self._keep_fetching(client)
        except FetchFailed as error:  # there is no client, and a later fetch would not change that
            self._note_failure(error)
        finally:
            self._asked_at = math.inf  # there are no more fetches
            self._end_fetch()

    async def _keep_fetching(self, client: "IssuerClient") -> None:
        retry = FIRST_RETRY
        while True:
            self._wanted.clear()
            await self._fetch(client)
            self._end_fetch()
            pause = retry if self._has_failed else REFRESH
            retry = min(2 * retry, LAST_RETRY) if self._has_failed else FIRST_RETRY
            await self._rest(pause * random.uniform(0.8, 1.0))  # noqa: S311 - so that not all fetch at once
            self._is_fetching = True

    async def _rest(self, pause: float) -> None:
        """Wait for `pause` seconds, or until a request asks for a fetch."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wanted.wait()

    async def _fetch(self, client: "IssuerClient") -> None:
        try:
            keys = await client.fetch_keys()
        except FetchFailed as error:
            self._note_failure(error)
            return
        if self._take(keys) or self._has_failed:
            _log.info("keys-fetched", url=self._shown, keys=len(keys))
        self._note(has_failed=False)

    def _note_failure(self, error: FetchFailed) -> None:
        if not self._has_failed:
            _log.warning("keys-not-fetched", url=self._shown, reason=str(error))
        self._note(has_failed=True)

    def _note(self, *, has_failed: bool) -> None:
        self._has_failed = has_failed
        for each in self._sets:
            each.has_failed = has_failed

    def _take(self, keys: tuple[IssuerKey, ...]) -> bool:
        """Give new keys to all sets, and return True. If they are the same as before, change nothing, so that verified
        tokens stay remembered, and return False."""
        if self._keys is not None and _compare(keys) == _compare(self._keys):
            return False
        self._keys = keys
        for each in self._sets:
            each.replace(keys)
        return True


def _compare(keys: tuple[IssuerKey, ...]) -> list[object]:
    return [(key.kid, key.algorithms, key.key) for key in keys]


def _open(url: str) -> "IssuerClient":
    """Make the client. Call this in a thread: it takes long to import the library, and to load the trusted
    certificates."""
    from .client import IssuerClient

    return IssuerClient(url)
