"""What `nats-http top` shows: the difference of two scrapes, as rates. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..observe.history import find_quantile
from .scrapes import RouteCounts, Scrape

_NEW = RouteCounts()


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route between two scrapes. Times are seconds, and None if no request has ended. `failing` and `refused` are
    shares of its responses, with 5xx and with 4xx."""

    route: str
    rate: float
    failing: float
    refused: float
    p50: float | None
    p99: float | None
    problem: str | None
    """The most frequent problem."""


@dataclass(frozen=True, slots=True)
class View:
    """A gateway between two scrapes, and now. A value that it does not report is None."""

    seconds: float
    """The time between the two scrapes."""
    nats_connected: bool | None
    """Whether all workers are connected to all NATS clusters."""
    clusters: Mapping[str, bool]
    """For each NATS cluster, whether all workers are connected to it. Empty if there is only one."""
    round_trip: float | None
    backlog: float | None
    in_flight: float | None
    in_flight_limit: float | None
    connections: float | None
    streams: float | None
    workers: float | None
    reload_successful: bool | None
    cpu: float | None
    """Seconds of CPU time in a second: 1 is one processor."""
    memory: float | None
    rate: float
    """Requests per second."""
    routes: tuple[RouteRow, ...]
    """The routes that had requests: those that fail most come first, then those with the most requests."""
    idle_routes: int
    """The number of routes that have had requests, but not between the two scrapes."""


def compare(before: Scrape, after: Scrape) -> View:
    """The view between two scrapes of the same gateway. If it has restarted, all of its numbers are new."""
    seconds = max(after.at - before.at, 0.001)
    old: Mapping[str, RouteCounts] = {} if _has_restarted(before, after) else before.routes
    rows = list(_list_rows(old, after.routes, seconds))
    rows.sort(key=lambda row: (-row.failing * row.rate, -row.rate, row.route))
    is_connected, is_loaded = after.find(_CONNECTED, min), after.values.get(_RELOAD)
    used = [scrape.values.get("process_cpu_seconds_total") for scrape in (before, after)]
    return View(
        seconds=seconds,
        nats_connected=None if is_connected is None else is_connected == 1,
        clusters={name: value == 1 for name, value in after.clusters.get(_CONNECTED, {}).items()},
        round_trip=after.find("nats_http_nats_round_trip_seconds", max),
        backlog=after.find("nats_http_nats_backlog_bytes"),
        in_flight=after.find("nats_http_requests_in_flight"),
        in_flight_limit=after.find("nats_http_requests_in_flight_limit"),
        connections=after.values.get("nats_http_open_connections"),
        streams=after.values.get("nats_http_streams_open"),
        workers=after.values.get("nats_http_workers"),
        reload_successful=None if is_loaded is None else is_loaded == 1,
        cpu=None if used[0] is None or used[1] is None else max(used[1] - used[0], 0.0) / seconds,
        memory=after.values.get("process_resident_memory_bytes"),
        rate=sum(row.rate for row in rows),
        routes=tuple(rows),
        idle_routes=len(after.routes) - len(rows),
    )


_CONNECTED = "nats_http_nats_connected"
_RELOAD = "nats_http_config_last_reload_successful"


def _has_restarted(before: Scrape, after: Scrape) -> bool:
    """Whether a counter has gone back. Only a restart of the gateway does that."""
    return any(counts.requests > after.routes.get(name, _NEW).requests for name, counts in before.routes.items())


def _list_rows(
    before: Mapping[str, RouteCounts], after: Mapping[str, RouteCounts], seconds: float
) -> Iterator[RouteRow]:
    for name, now in after.items():
        then = before.get(name, _NEW)
        count = now.requests - then.requests
        if count <= 0:
            continue
        problems = now.problems - then.problems  # only those that have become more
        bounds, buckets = _count_buckets(then, now)
        yield RouteRow(
            route=name,
            rate=count / seconds,
            failing=(now.failed - then.failed) / count,
            refused=(now.refused - then.refused) / count,
            p50=find_quantile(buckets, 0.5, bounds) if bounds else None,
            p99=find_quantile(buckets, 0.99, bounds) if bounds else None,
            problem=problems.most_common(1)[0][0] if problems else None,
        )


def _count_buckets(then: RouteCounts, now: RouteCounts) -> tuple[list[float], list[float]]:
    """The finite bounds, and the number of new requests in each bucket. Those of Prometheus include all lower ones."""
    bounds = sorted(now.buckets)
    totals = [now.buckets[bound] - then.buckets.get(bound, 0.0) for bound in bounds]
    counts = [total - below for total, below in zip(totals, [0.0, *totals], strict=False)]
    return [bound for bound in bounds if not math.isinf(bound)], counts
