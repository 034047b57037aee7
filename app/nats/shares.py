"""Limits the requests in flight of each route and of each caller, so that neither can take all places. Pure."""

import sys

from ..formats.addresses import find_network

ALL = sys.maxsize
"""The maximum of a route that may take all places."""


class Share:
    """Counts the requests of one route in flight, and limits them to `maximum`. None means half of the places that
    other routes leave, but at least one. The link changes `count`, once at the begin and once at the end of each
    request."""

    __slots__ = ("count", "maximum", "most")

    def __init__(self, maximum: int | None = ALL) -> None:
        self.count = 0
        self.allow(maximum)

    def allow(self, maximum: int | None) -> None:
        """Set the maximum from now on."""
        self.maximum = maximum
        self.most = maximum or ALL
        """The limit that applies even if more places are free."""

    def is_full(self, free: int) -> bool:
        """Whether the route can't have another request. `free` is the number of free places for all routes."""
        count = self.count
        return count > 0 and count >= (self.maximum or (free + count) // 2)


def choose_share(maximum: int | None, *, is_alone: bool, before: Share | None) -> Share:
    """The share of a route with this `maximum`, or None for the default. A route that is alone may have all places.
    `before` is the share of the route of the same name before a reload. It is used again, since it counts requests that
    are still in flight."""
    share = before or Share()
    share.allow(maximum or (ALL if is_alone else None))
    return share


class Callers:
    """Counts the requests of each peer address in flight. Only addresses with requests are kept. Requests without an
    address are not limited. An IPv6 caller usually has all addresses of a /64, so these count as one."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def has_room(self, address: str | None) -> bool:
        """Whether this address may have another request in flight."""
        return address is None or self._counts.get(find_network(address), 0) < self.maximum

    def begin(self, address: str | None) -> None:
        """Count a request of this address."""
        if address is not None:
            network = find_network(address)
            self._counts[network] = self._counts.get(network, 0) + 1

    def end(self, address: str | None) -> None:
        """End a request that was begun with `begin`."""
        if address is not None:
            network = find_network(address)
            count = self._counts[network] - 1
            if count:
                self._counts[network] = count
            else:
                del self._counts[network]
