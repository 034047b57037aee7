"""What the gateway counts is what its callers saw, to the request."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.http.lane import LaneName
from tests.faults.gateways import run_gateway_process
from tests.harness import NatsServer
from tests.monitoring.load import run_fast_service, send_exactly
from tests.monitoring.prometheus import Labels, Prometheus, Vector, make_labels, run_prometheus

ANSWERS = {
    "/greet/sue": ("greet", 200, None),
    "/big/900": ("big", 200, None),
    "/big/1001": ("big", 502, "bad-reply"),
    "/nobody/a": ("nobody", 503, "no-responders"),
    "/greet/a.b": ("greet", 422, "invalid-parameter"),
    "/nowhere": ("", 404, "not-found"),
}
"""Path to the route, the status and the slug that it has."""
CONNECTIONS, EACH = 8, 1201
REQUESTS = 'nats_http_requests_total{route!=""} or nats_http_requests_total{code="404"}'  # pages are left out


@pytest.mark.parametrize(("lane", "workers"), [("fast", 1), ("asgi", 1), ("fast", 2), ("asgi", 2)])
async def test_the_totals_are_those_that_wrk_counted(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, workers: int
) -> None:
    settings = {"GATEWAY_WORKERS": str(workers)}
    async with (
        run_gateway_process(tmp_path, own_nats.url, lane=lane, settings=settings) as gateway,
        run_fast_service(own_nats.url, tmp_path),
        run_prometheus(tmp_path / "prometheus", f"127.0.0.1:{gateway.port}") as prometheus,
    ):
        gateway.process.wait_for_connections(workers)
        seen = await send_exactly(gateway.url, list(ANSWERS), connections=CONNECTIONS, each=EACH)
        assert {(path, status) for path, status in seen} == {(path, answer[1]) for path, answer in ANSWERS.items()}
        await check(prometheus, {path: count for (path, _), count in seen.items()})


async def check(prometheus: Prometheus, seen: Mapping[str, int]) -> None:
    """The counters of requests and problems, and the counts of each histogram."""
    requests, problems, routes = Counter[Labels](), Counter[Labels](), Counter[Labels]()
    for path, count in seen.items():
        route, code, slug = ANSWERS[path]
        requests[label(route, code=str(code))] += count
        if slug:
            problems[label(route, slug=slug)] += count
        if route:
            routes[label(route)] += count
    await prometheus.wait_for(f"sum by (route, code) ({REQUESTS})", as_vector(requests))
    await prometheus.wait_for("sum by (route, slug) (nats_http_problems_total)", as_vector(problems))
    for histogram in ("request_duration_seconds", "request_size_bytes", "response_size_bytes"):
        for part in ('count{route!=""}', 'bucket{route!="", le="+Inf"}'):
            await prometheus.wait_for(f"sum by (route) (nats_http_{histogram}_{part})", as_vector(routes))


def label(route: str, **more: str) -> Labels:
    """Prometheus knows no empty labels."""
    return make_labels(**({"route": route} if route else {}), **more)


def as_vector(counts: Counter[Labels]) -> Vector:
    return {labels: float(count) for labels, count in counts.items()}
