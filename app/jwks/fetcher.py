"""Fetches the public keys of issuers, so that a request finds them.

Laws:
1. No request waits for keys, but one whose token names a key that is not known. For those there is one fetch at a time,
   and one in PAUSE at most. When it is over, WAKES of them go on in each turn of the event loop: thousands may wait.
2. The keys stay while the issuer is away or says something that is no JWK set.
3. An answer is at most MAX_ANSWER bytes, and complete within LIMIT. Redirects are not followed: the URL of the route
   file is the one that is trusted.
4. Each source has one task, which ends when no scheme needs it, or with the fetcher.
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
PAUSE = 30.0  # seconds between two fetches for keys that are not known
WAKES = 4  # requests that go on in one turn of the event loop
FIRST_RETRY, LAST_RETRY = 1.0, 60.0  # seconds after a fetch that failed; each is twice the one before

_Waiting = OrderedDict[asyncio.Future[None], None]

_log = structlog.get_logger("nats-http.jwks")


class FetchFailed(Exception):
    """The text says why, without a word of the address or the answer."""


class JwksFetcher:
    """An async context manager, to be entered in the event loop that it serves. Leaving it ends all fetches."""

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
        """Keep these up to date from now on, and no others. Those whose URL was known before have its keys at once."""
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
    """One URL, the sets that have its keys, and the task that fetches them. To be made in a running event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = url.partition("?")[0]
        """The query may have a secret."""
        self._sets: list[KeySet] = []
        self._keys: tuple[IssuerKey, ...] | None = None
        self._has_failed = False
        self._asked_at = -PAUSE  # an instant
        self._wanted = asyncio.Event()
        self._is_fetching = True  # the first one is under way from the start
        self._waiting: _Waiting = OrderedDict()
        """The requests that wait for a fetch; each has a connection of its own, which bounds them."""
        self._task = asyncio.create_task(self._run())

    def serve(self, sets: list[KeySet]) -> None:
        self._sets = sets
        for keys in sets:
            keys.fetch = self.fetch
            keys.has_failed = self._has_failed
            if self._keys is not None:
                keys.replace(self._keys)

    def close(self) -> None:
        self._task.cancel()
        self._end_fetch()

    async def ended(self) -> None:
        await asyncio.wait({self._task})

    async def fetch(self) -> None:
        """For a key that is not known: waits for the fetch that is under way, or for a new one, unless the last one
        for such a key is less than PAUSE ago."""
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
            if not one.done():  # one that is cancelled is still here for the rest of a turn
                one.set_result(None)
        if waiting:
            asyncio.get_running_loop().call_soon(self._wake, waiting)

    async def _run(self) -> None:
        try:
            async with await asyncio.to_thread(_open, self._url) as client:
                await self._keep_fetching(client)
        except FetchFailed as error:  # nobody can be asked, and no later fetch would change that
            self._note_failure(error)
        finally:
            self._asked_at = math.inf  # nobody fetches any more
            self._end_fetch()

    async def _keep_fetching(self, client: "IssuerClient") -> None:
        retry = FIRST_RETRY
        while True:
            self._wanted.clear()
            await self._fetch(client)
            self._end_fetch()
            pause = retry if self._has_failed else REFRESH
            retry = min(2 * retry, LAST_RETRY) if self._has_failed else FIRST_RETRY
            await self._rest(pause * random.uniform(0.8, 1.0))  # noqa: S311 - not to come in step
            self._is_fetching = True

    async def _rest(self, pause: float) -> None:
        """For so many seconds, unless somebody wants a fetch."""
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
        """Whether they are others than before. Where they are the same, what was verified by them is still right."""
        if self._keys is not None and _compare(keys) == _compare(self._keys):
            return False
        self._keys = keys
        for each in self._sets:
            each.replace(keys)
        return True


def _compare(keys: tuple[IssuerKey, ...]) -> list[object]:
    return [(key.kid, key.algorithms, key.key) for key in keys]


def _open(url: str) -> "IssuerClient":
    """To load the library, and the authorities that may sign certificates, takes long: for a thread."""
    from .client import IssuerClient

    return IssuerClient(url)
