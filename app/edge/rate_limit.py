"""`rate_limit` on a route: no more requests than its limits allow. Pure: a storage elsewhere is asked by others.

Laws:
1. Each answer, to a request that passes or is refused, says how much is left, as draft-ietf-httpapi-ratelimit-headers
   has it: `RateLimit-Policy` and `RateLimit`.
2. What a limit counts apart has a name of at most MAX_KEY characters, however long what a caller sends is.
3. A storage that does not answer refuses nobody, or everybody, as it says itself. It is asked once for a request.
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
"""What all are counted as whose address, or claim, is not known."""


class Storage(Protocol):
    """Where many gateways count together. With `is_closed` it refuses requests while it is away."""

    @property
    def is_closed(self) -> bool: ...

    @property
    def is_away(self) -> bool:
        """Whether it is known not to answer now."""

    async def take(self, limit: Limit, key: str) -> float | None:
        """As `Buckets.take`; None where it does not answer in time."""


class Counter:
    """What counts for one limit, on all routes that name it: its buckets in memory, or a storage elsewhere. Whoever
    serves the routes gives it the buckets of the same limit before a reload, and the storage."""

    __slots__ = ("buckets", "limit", "storage")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.buckets = Buckets(limit)
        self.storage: Storage | None = None


class RateLimit:
    """Refuses a request over the limit of this counter with 429 `rate-limited`. Where a storage counts, and can't be
    asked, a request gets 503 `limits-unavailable`, or is counted here."""

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
        """Raises RateLimited."""
        held = left if left >= 0 else left + 1
        full = math.ceil((self._burst - held) / self._rate - _ROUNDING)
        request.added += (self._policy, (b"ratelimit", self._written % (max(left, 0), full)))
        if left < 0:
            wait = math.ceil(-left / self._rate - _ROUNDING)
            raise RateLimited(self._detail, headers=((b"retry-after", b"%d" % max(1, wait)),))


def _write_policy(limit: Limit) -> bytes:
    """The quota of whole seconds."""
    window = math.ceil(limit.period)
    return b'"%b";q=%d;w=%d' % (limit.name.encode("ascii"), int(limit.average * window / limit.period), window)


def _describe(limit: Limit) -> str:
    who = {"ip": "from this address", "key": "of this caller", "route": "to this route"}
    of = who.get(limit.kind, f"of callers with this claim '{limit.claim}'")
    amount = f"{limit.average} each {format_duration(limit.period)}, and at most {limit.burst} at once"
    return f"The limit '{limit.name}' allows no more requests {of} now: {amount}."


def _choose_key(limit: Limit, route: str) -> Callable[[Request], str]:
    """What tells the name under which a request is counted."""
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
    """A storage takes any text but for halves of surrogate pairs, which a claim may have."""
    if len(key) <= MAX_KEY and key.isascii():
        return key
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
