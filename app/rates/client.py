"""Takes tokens from buckets in a Redis or Valkey server. Only this module imports `limits`. It is only imported if the
settings name a storage.

`limits` parses the address and makes the connections. Its own strategies count in windows, without a rate and a burst.
So the script below counts in the way of `edge.buckets`, by the clock of the server.
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
# redis-py lets the last three through if the server is not a Redis.
_NO_ANSWER = (RedisError, OSError, ValueError, TypeError, RecursionError)

# Times are in microseconds. A bucket is stored as the instant at which it is full again, and expires then. Returns
# millionths of a token: those that are left, or a number below 0 for the part of a token that was missing.
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
    """The client of one server. `host` is the host of its URL. It may be made in any thread. Use it in one event
    loop."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).hostname or urlsplit(url).path
        options: dict[str, Any] = {
            "implementation": "redispy",
            "socket_timeout": LIMIT,
            "socket_connect_timeout": LIMIT,
            "max_connections": 2 * MAX_ASKING,
            "retry": Retry(NoBackoff(), 1),  # the server may have closed an idle connection
        }
        storage = storage_from_string(
            f"async+{url.replace('valkey', 'redis', 1)}", **options
        )  # Valkey speaks the protocol of Redis
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
