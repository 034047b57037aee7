"""The connections to all NATS clusters and accounts. Each has its own, so that one that is away harms only the routes
that use it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from .credentials import Credentials
from .feeds import Feeds
from .link import Link
from .publisher import Publisher


@dataclass(frozen=True, slots=True)
class Target:
    """Where a cluster is: its servers, and the credentials for them."""

    servers: Sequence[str]
    credentials: Credentials


class Connections(NamedTuple):
    """The link of one cluster for requests, and its feeds for subscriptions."""

    link: Link
    feeds: Feeds


class Clusters(Mapping[str, Connections]):
    """The connections to all clusters, by name. Each link has the limits `max_in_flight` and `max_per_caller` for
    itself. When `drain` is set, all feeds end. `write_time` writes a Unix time for a gap."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        *,
        max_in_flight: int,
        max_per_caller: int | None,
        drain: asyncio.Event,
        write_time: Callable[[float], str],
    ) -> None:
        self.stream_counts = Counter[str]()
        """The number of `events` that streams gave to callers, and of gaps by their cause."""
        self._all = {
            name: Connections(
                Link(
                    target.servers,
                    max_in_flight=max_in_flight,
                    max_per_caller=max_per_caller,
                    credentials=target.credentials,
                ),
                Feeds(
                    target.servers,
                    drain=drain,
                    write_time=write_time,
                    credentials=target.credentials,
                    counts=self.stream_counts,
                ),
            )
            for name, target in targets.items()
        }

    def __getitem__(self, name: str) -> Connections:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def links(self) -> Mapping[str, Link]:
        """The links for requests, by the name of their cluster."""
        return {name: found.link for name, found in self._all.items()}

    @property
    def feeds(self) -> Mapping[str, Feeds]:
        """The feeds, by the name of their cluster."""
        return {name: found.feeds for name, found in self._all.items()}

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """All links connect in the background, and all feeds once somebody subscribes. At the end all are closed."""
        async with AsyncExitStack() as stack:
            for link in self.links.values():
                await stack.enter_async_context(link)
            for feeds in self.feeds.values():
                await stack.enter_async_context(feeds)
            yield


def list_senders(links: Mapping[str, Link], name_publisher: Callable[[str], str]) -> dict[str, Link | Publisher]:
    """The senders of requests, and those of messages that nobody replies to, by name."""
    publishers = {name_publisher(name): Publisher(link) for name, link in links.items()}
    return {**links, **publishers}
