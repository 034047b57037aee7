"""The services on all NATS clusters, and the routes that lead to them, for `/status` and `/services`."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..discovery.matching import find_routes
from ..discovery.services import Service, Services, ask_services
from ..formats.clusters import MAIN
from ..nats.link import Link
from ..pieces import run_in_pieces
from ..routing.routes import Route

ASK_INTERVAL = 5.0  # seconds between two requests to the services
PATIENCE = 60.0  # the same, if NATS does not allow these requests


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service on a NATS cluster. `routes` are the names of the routes that lead to it."""

    service: Service
    nats: str
    routes: Sequence[str]


class ServicesSeen:
    """The services that answered the last request to `$SRV` of their NATS cluster."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._clusters = [_Cluster(name, link) for name, link in links.items()]

    async def ask(self, routes: Sequence[Route]) -> None:
        """Ask each cluster, unless the last request to it was less than ASK_INTERVAL ago."""
        await asyncio.gather(*(cluster.ask(routes) for cluster in self._clusters))

    @property
    def is_known(self) -> bool:
        """Whether all clusters have been asked."""
        return all(cluster.found is not None for cluster in self._clusters)

    def list_services(self) -> list[ServiceSeen]:
        """All services, sorted by name and version."""
        seen = [one for cluster in self._clusters for one in cluster.list_services()]
        return sorted(seen, key=lambda one: (one.service.name, one.service.version))

    @property
    def note(self) -> str | None:
        """A sentence or more if services could not be asked, or if some may be missing."""
        notes = [
            (cluster.name, cluster.found.note) for cluster in self._clusters if cluster.found and cluster.found.note
        ]
        if len(self._clusters) == 1:
            return notes[0][1] if notes else None
        return " ".join(f"{name}: {note}" for name, note in notes) or None

    @property
    def cut(self) -> bool:
        """Whether services were left out because there were too many."""
        return any(cluster.found.cut for cluster in self._clusters if cluster.found)


class _Cluster:
    """The services on one NATS cluster."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self.found: Services | None = None
        self._link = link
        self._leads: Sequence[Sequence[str]] = ()
        self._next_at = 0.0

    async def ask(self, routes: Sequence[Route]) -> None:
        """Ask the services, if it is time."""
        if time.monotonic() < self._next_at:
            return
        found = await ask_services(self._link)
        templates = [(route.name, route.subject_template) for route in routes if route.nats == self.name]
        self._leads = (await run_in_pieces(find_routes(found.services, templates))).routes
        self.found = found
        is_refused = found.note and not found.services and self._link.reason is None
        self._next_at = time.monotonic() + (PATIENCE if is_refused else ASK_INTERVAL)

    def list_services(self) -> Iterator[ServiceSeen]:
        """All of them."""
        for service, routes in zip(self.found.services if self.found else (), self._leads, strict=True):
            yield ServiceSeen(service, self.name, routes)


def name_other(nats: str) -> str | None:
    """The name of a cluster in JSON: null for MAIN, which most gateways have alone."""
    return None if nats == MAIN else nats
