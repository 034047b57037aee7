"""`nats` of a route: the NATS cluster or account that has its subject."""

from collections.abc import Collection, Iterator, Sequence

from ..formats.clusters import MAIN
from ..formats.words import suggest
from ..routing.routes import Route
from .faults import RouteFileError


def find_cluster_faults(name: str, known: Collection[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Faults of `nats` of a route: the key path below it, and a text. `known` has the names of all clusters."""
    if name not in known:
        yield (), f"GATEWAY_NATS does not have this name{_hint(name, known)}"


def _hint(name: str, known: Collection[str]) -> str:
    if set(known) == {MAIN}:
        return f"; it is not set, so the only name is `{MAIN}`"
    return suggest(name, known) or f"; known are {', '.join(known)}"


def check_clusters(routes: Sequence[Route], known: Collection[str]) -> None:
    """Check the routes of a gateway that has these clusters. Raises RouteFileError."""
    faults = [
        f"route '{route.name}': nats: {route.nats}: {text}"
        for route in routes
        for _, text in find_cluster_faults(route.nats, known)
    ]
    if faults:
        raise RouteFileError(faults)
