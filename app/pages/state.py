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
from ..nats.link import Link
from ..observe.board import Boards
from ..observe.gauges import name_of, read_gauge
from ..observe.history import STEP, History, RouteState
from ..observe.recent import read_failures
from ..pieces import Steps
from ..routing.routes import Route
from .health import SHUTTING_DOWN
from .nats_timeline import UP, describe_nats, read_start
from .services_seen import ServiceSeen, ServicesSeen, name_other

MOST_ROUTES = 1000  # on the page, those with the most failures first
MOST_SERVICES = 200  # on the page
MOST_REMARKS = 100  # on the page, about what of the services is not used

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
        "nats": name_other(route.nats),
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
    for one in seen.list_services():
        for route in one.routes:
            found.setdefault(route, {})[one.service.name] = None
    return {route: list(names) for route, names in found.items()}


def _describe_services(seen: ServicesSeen) -> dict[str, Any] | None:
    if not seen.is_known:
        return None
    services = seen.list_services()
    shown = list(_list_shown(services))
    return {"list": shown, "note": seen.note, "cut": seen.cut or len(services) > len(shown)}


def _list_shown(services: Sequence[ServiceSeen]) -> Iterator[dict[str, Any]]:
    """The services that a route leads to, then the others. Both are sorted by name."""
    for one in sorted(services, key=lambda one: not one.routes)[:MOST_SERVICES]:
        described = asdict(one.service)
        del described["subjects"], described["endpoints"]
        yield {**described, "nats": name_other(one.nats), "routes": one.routes[:MOST_SERVICES]}
