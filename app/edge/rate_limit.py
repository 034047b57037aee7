"""`rate_limit` of a route: no more requests than its limits allow. Pure: `app.rates` asks a shared storage.

Laws:
1. Each answer says how many requests are left, whether the request passes or is refused. The headers are
   `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers.
2. The key of a bucket has at most MAX_KEY characters, however long the values of a caller are.
3. If a storage does not answer, requests are counted here, or all are refused if it `is_closed`. Each request asks it
   once.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Protocol

from ..errors import GatewayError, LimitsUnavailable, RateLimited
from ..formats.addresses import find_network
from ..formats.units import format_duration
from .buckets import Buckets, Limit
from .identity import find_claim
from .policy import AsyncCheck
from .request import Request

MAX_KEY = 64  # characters
_REMEMBERED = 4096  # addresses
_ROUNDING = 1e-6  # seconds
_UNKNOWN = "-"
"""The key of all callers whose address, or claim, is not known."""


class Storage(Protocol):
    """A place where many gateways count together. With `is_closed`, requests are refused while it is away."""

    @property
    def is_closed(self) -> bool: ...

    @property
    def is_away(self) -> bool:
        """Whether it is known that the storage does not answer now."""

    async def take(self, limit: Limit, key: str) -> float | None:
        """As `Buckets.take`. None if the storage does not answer in time."""


class Counter:
    """Counts the requests of one limit, for all routes that name it: in buckets in memory, or in a shared storage.
    `app.rates` sets the storage, and keeps the buckets of the same limit over a reload."""

    __slots__ = ("buckets", "limit", "storage")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.buckets = Buckets(limit)
        self.storage: Storage | None = None


class RateLimit:
    """Refuses a request over the limit of this counter with 429 `rate-limited`. If a shared storage does not answer, a
    request is counted in memory, or gets 503 `limits-unavailable` if the storage `is_closed`."""

    fields: frozenset[bytes] = frozenset()
    errors: tuple[type[GatewayError], ...] = (RateLimited,)

    def __init__(self, counter: Counter, *, route: str) -> None:
        self.counter = counter
        self.limit = limit = counter.limit
        self._burst, self._rate = limit.burst, limit.rate
        self._find_key = _choose_key(limit, route)
        self._policy = (b"ratelimit-policy", _write_policy(limit))
        self._written = b'"%b";r=%%d;t=%%d' % limit.name.encode("ascii")
        self._detail = _describe(limit)

    def check(self, request: Request) -> AsyncCheck | None:
        """As Policy.check. Returns an AsyncCheck to ask a shared storage. Raises RateLimited or LimitsUnavailable."""
        counter = self.counter
        if counter.storage is None:
            self._judge(request, counter.buckets.take(self._find_key(request), request.received))
        elif counter.storage.is_away:
            self._do_without(counter.storage, request)
        else:
            return partial(self._ask, counter.storage, request)
        return None

    async def _ask(self, storage: Storage, request: Request) -> None:
        left = await storage.take(self.limit, self._find_key(request))
        if left is None:
            self._do_without(storage, request)
        else:
            self._judge(request, left)

    def _do_without(self, storage: Storage, request: Request) -> None:
        if storage.is_closed:
            raise LimitsUnavailable
        self._judge(request, self.counter.buckets.take(self._find_key(request), request.received))

    def _judge(self, request: Request, left: float) -> None:
        """Add the header fields for this number of tokens. Raises RateLimited if it is less than 0."""
        held = left if left >= 0 else left + 1
        full = math.ceil((self._burst - held) / self._rate - _ROUNDING)
        request.added += (self._policy, (b"ratelimit", self._written % (max(left, 0), full)))
        if left < 0:
            wait = math.ceil(-left / self._rate - _ROUNDING)
            raise RateLimited(self._detail, headers=((b"retry-after", b"%d" % max(1, wait)),))


def _write_policy(limit: Limit) -> bytes:
    """The value of `RateLimit-Policy`. Its window is in whole seconds, so the quota is scaled to a rounded-up
    window."""
    window = math.ceil(limit.period)
    return b'"%b";q=%d;w=%d' % (limit.name.encode("ascii"), int(limit.average * window / limit.period), window)


def _describe(limit: Limit) -> str:
    who = {"ip": "from this address", "key": "of this caller", "route": "to this route"}
    of = who.get(limit.kind, f"of callers with this claim '{limit.claim}'")
    amount = f"{limit.average} each {format_duration(limit.period)}, and at most {limit.burst} at once"
    return f"The limit '{limit.name}' allows no more requests {of} now: {amount}."


def _choose_key(limit: Limit, route: str) -> Callable[[Request], str]:
    """The function that gives the key of the bucket of a request."""
    if limit.kind == "route":
        return lambda _: route
    if limit.kind == "claim":
        return partial(_find_claim, limit.claim)
    return _KEYS[limit.kind]


def _find_address(request: Request) -> str:
    return _name_address(request.caller.counted_as)


@lru_cache(_REMEMBERED)
def _name_address(address: str | None) -> str:
    return _UNKNOWN if address is None else _shorten(find_network(address))


def _find_name(request: Request) -> str:
    identity = request.identity
    return _UNKNOWN if identity is None else _shorten(f"{identity.scheme}:{identity.subject}")


def _find_claim(name: str, request: Request) -> str:
    claim = find_claim(request.identity.claims, name) if request.identity else None
    if claim is None:
        return _UNKNOWN
    return _shorten(json.dumps(claim, sort_keys=True, separators=(",", ":")))


_KEYS: Mapping[str, Callable[[Request], str]] = {"ip": _find_address, "key": _find_name}


def _shorten(key: str) -> str:
    """The key itself if it is short and ASCII, else its hash. A claim may contain lone surrogates, which a storage does
    not accept."""
    if len(key) <= MAX_KEY and key.isascii():
        return key
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
