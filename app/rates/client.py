"""Asks a Redis or Valkey server for tokens. It alone imports limits, and is loaded where the settings name a storage.

`limits` knows the addresses and the connections. Its strategies count in windows, and none has a rate and a burst: the
script below does, in the way of `edge.buckets`, by the clock of the server.
"""

from typing import Any
from urllib.parse import urlsplit

from limits.aio.storage import RedisStorage
from limits.storage import storage_from_string
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..edge.buckets import Limit
from .storage import LIMIT, MAX_ASKING, StorageFailed

_PREFIX = "nats-http:rate"
# redis-py lets the last three through where what answers is no Redis.
_NO_ANSWER = (RedisError, OSError, ValueError, TypeError, RecursionError)

# In microseconds. A bucket is the instant at which it is full again; it is kept for no longer. Returns millionths of a
# token: those that are left or, less than 0, what was missing of one.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local left = burst - 1 - (full - now) / interval
if left < -0.001 then
  return math.min(-1, math.floor(left * 1000000))
end
full = full + interval
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000))
return math.max(0, math.floor(left * 1000000))
"""


class StorageClient:
    """`host` is that of its URL. To be made in any thread, and used in one event loop."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).hostname or urlsplit(url).path
        options: dict[str, Any] = {
            "implementation": "redispy",
            "socket_timeout": LIMIT,
            "socket_connect_timeout": LIMIT,
            "max_connections": 2 * MAX_ASKING,
            "retry": Retry(NoBackoff(), 1),  # the server may have closed a connection that was idle
        }
        storage = storage_from_string(f"async+{url.replace('valkey', 'redis', 1)}", **options)  # they speak the same
        if not isinstance(storage, RedisStorage):
            raise TypeError(f"limits has made a {type(storage).__name__} of the address")
        self._redis: Any = storage.bridge.storage  # type: ignore[attr-defined] # its own client, of redis-py
        self._take: Any = self._redis.register_script(_TAKE)

    async def take(self, limit: Limit, key: str) -> float:
        """As `Buckets.take`. Raises StorageFailed."""
        name = f"{_PREFIX}:{limit.name}:{key}"
        try:
            left = await self._take(keys=[name], args=[repr(1_000_000 / limit.rate), limit.burst])
            return int(left) / 1_000_000
        except _NO_ANSWER as error:
            raise StorageFailed(type(error).__name__) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
