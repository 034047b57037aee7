"""The current state of the gateway, of NATS and of the services, for `/status/data` and `/status/events`.

It has the data of `/metrics`, and names. It has no path of a request, no address of a caller, and no payload.
docs/status.md is the reference.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import __version__
from ..discovery.infos import Remark
from ..discovery.matching import find_routes
from ..discovery.services import Services, ask_services
from ..formats.clusters import MAIN
from ..nats.link import Link
from ..observe.board import Boards
from ..observe.gauges import name_of, read_gauge
from ..observe.history import STEP, History, RouteState
from ..observe.recent import read_failures
from ..pieces import Steps, run_in_pieces
from ..routing.routes import Route
from .health import SHUTTING_DOWN
from .nats_timeline import UP, describe_nats, read_start

MOST_ROUTES = 1000  # on the page, those with the most failures first
MOST_SERVICES = 200  # on the page
MOST_REMARKS = 100  # on the page, about what of the services is not used
ASK_INTERVAL = 5.0  # seconds between two requests to the services
PATIENCE = 60.0  # the same, if NATS does not allow these requests

_DIGITS = 6  # digits of seconds and shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of the state. Each function is called each time."""

    boards: Boards
    links: Mapping[str, Link]
    """The links to all NATS clusters, by name."""
    find_title: Callable[[], str]
    find_routes: Callable[[], Sequence[Route]]
    find_remarks: Callable[[], Sequence[Remark]]
    is_draining: Callable[[], bool]
    with_details: bool


class ServicesSeen:
    """The services that answered the last request to `$SRV`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._next_at = 0.0
        self.services: Services | None = None
        self.leads: Sequence[Sequence[str]] = ()
        """For each service, the names of the routes that lead to it."""

    async def ask(self, routes: Sequence[Route]) -> None:
        """Ask the services of MAIN, unless the last request was less than ASK_INTERVAL ago."""
        if time.monotonic() < self._next_at:
            return
        found = await ask_services(self._link)
        templates = [(route.name, route.subject_template) for route in routes if route.nats == MAIN]
        self.leads = (await run_in_pieces(find_routes(found.services, templates))).routes
        self.services = found
        self._next_at = time.monotonic() + (PATIENCE if found.note and not found.services else ASK_INTERVAL)


def describe_state(sources: Sources, history: History, seen: ServicesSeen) -> Steps[dict[str, Any]]:
    """The whole state, made in short steps."""
    boards, total = sources.boards, history.describe_all()
    clusters = [describe_nats(boards, name, with_details=sources.with_details) for name in sources.links]
    nats, *others = clusters
    is_ready = any(one["state"] == UP for one in clusters) and not sources.is_draining()
    routes = sources.find_routes()
    rows = yield from _describe_routes(routes, history, seen)
    return {
        "whole": True,
        "title": sources.find_title(),
        "version": __version__,
        "time": round(time.time(), 3),
        "started": read_start(boards),
        "workers": int(read_gauge(boards, "workers") or 1),
        "ready": is_ready,
        "reason": SHUTTING_DOWN if sources.is_draining() else nats["reason"],
        "rate": round(total.rate, 2),
        "failing": round(total.failing, _DIGITS),
        "in_flight": _sum_gauges(sources, "requests_in_flight"),
        "in_flight_limit": _sum_gauges(sources, "requests_in_flight_limit"),
        "connections": read_gauge(boards, "open_connections"),
        "streams": int(read_gauge(boards, "streams_open") or 0),
        "reload": {
            "successful": read_gauge(boards, "config_last_reload_successful") != 0,
            "loaded_at": read_gauge(boards, "config_last_reload_success_timestamp_seconds"),
        },
        "step": STEP,
        "spark": _round(total.spark),
        "nats": nats,
        "other_nats": others,
        "routes": rows,
        "routes_total": len(routes),
        "failures": read_failures(boards),
        "services": _describe_services(seen),
        "unused": [str(remark) for remark in sources.find_remarks()[:MOST_REMARKS]],
    }


def _sum_gauges(sources: Sources, name: str) -> int:
    """The sum of a gauge over all NATS clusters."""
    return sum(int(read_gauge(sources.boards, name_of(name, cluster)) or 0) for cluster in sources.links)


def _describe_routes(routes: Sequence[Route], history: History, seen: ServicesSeen) -> Steps[list[dict[str, Any]]]:
    """The rows of all routes. If there are more than MOST_ROUTES, those with the most failures and requests."""
    states: list[tuple[Route, RouteState]] = []
    for route in routes:
        states.append((route, history.describe(route.name)))
        yield
    if len(states) > MOST_ROUTES:
        states.sort(key=lambda found: (found[1].failing, found[1].rate), reverse=True)
    by_route = _list_services_by_route(seen)
    rows: list[dict[str, Any]] = []
    for route, state in states[:MOST_ROUTES]:
        rows.append(_describe_route(route, state, by_route.get(route.name, [])))
        yield
    return rows


def _describe_route(route: Route, state: RouteState, services: Sequence[str]) -> dict[str, Any]:
    return {
        "name": route.name,
        "methods": route.methods,
        "path": route.path,
        "subject": route.subject,
        "kind": route.kind.word,
        "nats": None if route.nats == MAIN else route.nats,
        "rate": round(state.rate, 2),
        "failing": round(state.failing, _DIGITS),
        "refused": round(state.refused, _DIGITS),
        "p50": state.p50 and round(state.p50, _DIGITS),
        "p95": state.p95 and round(state.p95, _DIGITS),
        "p99": state.p99 and round(state.p99, _DIGITS),
        "spark": _round(state.spark),
        "answered": state.answered,
        "slug": state.slug,
        "services": services,
    }


def _round(rates: Sequence[float]) -> list[float]:
    return [round(rate, 2) for rate in rates]


def _list_services_by_route(seen: ServicesSeen) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for service, routes in zip(seen.services.services if seen.services else (), seen.leads, strict=True):
        for route in routes:
            found.setdefault(route, {})[service.name] = None
    return {route: list(names) for route, names in found.items()}


def _describe_services(seen: ServicesSeen) -> dict[str, Any] | None:
    found = seen.services
    if found is None:
        return None
    shown = list(_list_shown(found, seen.leads))
    return {"list": shown, "note": found.note, "cut": found.cut or len(found.services) > len(shown)}


def _list_shown(found: Services, leads: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """The services that a route leads to, then the others. Both are sorted by name."""
    pairs = sorted(zip(found.services, leads, strict=True), key=lambda pair: not pair[1])
    for service, routes in pairs[:MOST_SERVICES]:
        described = asdict(service)
        del described["subjects"], described["endpoints"]
        yield {**described, "routes": routes[:MOST_SERVICES]}
