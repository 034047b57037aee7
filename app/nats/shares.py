"""Shares of the requests in flight, so that neither a route nor a caller takes them all. Pure."""

import sys

from ..formats.addresses import find_network

ALL = sys.maxsize
"""The maximum of a route that may take every place that there is."""


class Share:
    """How many requests of one route are in flight, and how many may be: `maximum`, or where that is None half of the
    places that other routes leave, at least one. The link counts; it begins and ends every request exactly once."""

    __slots__ = ("count", "maximum", "most")

    def __init__(self, maximum: int | None = ALL) -> None:
        self.count = 0
        self.allow(maximum)

    def allow(self, maximum: int | None) -> None:
        """From now on `maximum`."""
        self.maximum = maximum
        self.most = maximum or ALL
        """However many places are free."""

    def is_full(self, free: int) -> bool:
        """Whether the route may have no further request, while `free` places are left for all routes."""
        count = self.count
        return count > 0 and count >= (self.maximum or (free + count) // 2)


def choose_share(maximum: int | None, *, is_alone: bool, before: Share | None) -> Share:
    """The share of a route that says `maximum`. A route that is alone may have all places. `before` is the share of the
    route of that name until now: it counts requests that are still in flight."""
    share = before or Share()
    share.allow(maximum or (ALL if is_alone else None))
    return share


class Callers:
    """How many requests of each peer address are in flight; only addresses that have some are kept. What has no address
    is not bounded. An IPv6 caller usually has all addresses of a /64, so these count as one."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def has_room(self, address: str | None) -> bool:
        return address is None or self._counts.get(find_network(address), 0) < self._maximum

    def begin(self, address: str | None) -> None:
        if address is not None:
            network = find_network(address)
            self._counts[network] = self._counts.get(network, 0) + 1

    def end(self, address: str | None) -> None:
        """Of a request that has begun."""
        if address is not None:
            network = find_network(address)
            count = self._counts[network] - 1
            if count:
                self._counts[network] = count
            else:
                del self._counts[network]
