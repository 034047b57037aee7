"""Made-up states of a gateway, for the status page: ten routes, some in trouble, and a NATS that was away."""

import random
from typing import Any

State = dict[str, Any]
"""As the page gets it, in JSON."""

_SEED = random.Random(7)  # noqa: S311 - numbers to look at
_STEPS = 60
_STEP = 5  # seconds

# name, method, path, subject, requests/s, failing, refused, p50, slug, service
_ROUTES = (
    ("orders-create", "POST", "/orders", "orders.create", 184.0, 0.0, 0.012, 0.0061, None, "orders"),
    ("orders-read", "GET", "/orders/{id}", "orders.{id}.get", 612.4, 0.0, 0.031, 0.0018, None, "orders"),
    ("orders-cancel", "DELETE", "/orders/{id}", "orders.{id}.cancel", 2.3, 0.034, 0.0, 0.0094, "timeout", "orders"),
    (
        "payments-capture",
        "POST",
        "/payments/{id}/capture",
        "payments.{id}.capture",
        41.7,
        0.0,
        0.0,
        0.084,
        None,
        "payments",
    ),
    (
        "payments-refund",
        "POST",
        "/payments/{id}/refund",
        "payments.{id}.refund",
        1.2,
        1.0,
        0.0,
        None,
        "no-responders",
        None,
    ),
    ("stock-watch", "GET", "/stock/{sku}/watch", "stock.{sku}.changes", 3.0, 0.0, 0.0, 1.42, None, "stock"),
    ("stock-read", "GET", "/stock/{sku}", "stock.{sku}.get", 298.6, 0.0, 0.004, 0.0009, None, "stock"),
    ("search", "GET", "/search", "search.query", 57.9, 0.162, 0.002, 0.212, "timeout", "search"),
    ("greet", "GET", "/greet/{name}", "greet.{name}", 12.3, 0.0, 0.0, 0.00042, None, "greet"),
    ("reports-build", "POST", "/reports", "reports.build", 0.0, 0.0, 0.0, None, None, None),
)
_SERVICES: tuple[tuple[object, ...], ...] = (
    ("orders", "2.8.1", 4, 1_204_881, 312, 0.0031, ["orders-create", "orders-read", "orders-cancel"]),
    ("payments", "1.14.0", 2, 60_412, 0, 0.081, ["payments-capture"]),
    ("stock", "0.9.3", 3, 893_002, 4, 0.0012, ["stock-read", "stock-watch"]),
    ("search", "5.0.0", 1, 98_110, 8_204, 0.31, ["search"]),
    ("greet", "0.1.0", 1, 44_018, 0, 0.00009, ["greet"]),
    ("audit", "0.2.0", 1, 12, 0, 0.002, []),
)


def make_route(name: str, **values: object) -> State:
    """A route of which all is well, but for `values`."""
    well: State = {
        "name": name,
        "methods": ["GET"],
        "path": f"/{name}/{{id}}",
        "subject": f"{name}.{{id}}",
        "kind": "request",
        "rate": 12.3,
        "failing": 0.0,
        "refused": 0.0,
        "p50": 0.0012,
        "p95": 0.0034,
        "p99": 0.012,
        "spark": [12.0] * _STEPS,
        "answered": True,
        "slug": None,
        "services": [name],
    }
    return well | values


def make_failure(time: float, number: int, **values: object) -> State:
    made: State = {
        "time": time,
        "route": "greet",
        "method": "GET",
        "status": 503,
        "slug": "no-responders",
        "delivered": "no",
        "request_id": f"{number:032x}",
        "duration": 0.0021,
        "more": 0,
    }
    return made | values


def make_state(time: float, routes: list[State], **values: object) -> State:
    """A gateway of which all is well, but for its routes and `values`."""
    well: State = {
        "whole": True,
        "title": "Shop API",
        "version": "0.14.0",
        "time": time,
        "started": time - 3 * 86400 - 4 * 3600 - 12,
        "workers": 2,
        "ready": True,
        "reason": None,
        "rate": sum(route["rate"] for route in routes),
        "failing": 0.0,
        "in_flight": 37,
        "in_flight_limit": 8192,
        "connections": 212,
        "step": _STEP,
        "spark": [sum(values) for values in zip(*(route["spark"] for route in routes), strict=True)] or [0.0] * _STEPS,
        "nats": make_nats(),
        "routes": routes,
        "failures": [],
        "services": {"list": [], "note": None, "cut": False},
        "unused": [],
        "reload": {"successful": True, "loaded_at": 0},
    }
    return well | values


def make_nats(state: str = "up", *, down: range = range(0), partly: range = range(0), **values: object) -> State:
    """A timeline with steps in which NATS was away."""

    def make_step(at: int) -> State:
        kind = "down" if at in down else "partly" if at in partly else "up"
        return {"state": kind, "round_trip": None if kind == "down" else 0.0004 + 0.0003 * _SEED.random()}

    server = {"name": "nats-eu-1", "version": "2.12.1", "cluster": "eu", "address": "10.0.4.17:4222"}
    whole: State = {
        "state": state,
        "reason": None,
        "since": 1764195600.0 if state == "down" else None,
        "servers": [] if state == "down" else [server],
        "round_trip": None if state == "down" else 0.00042,
        "reconnects": 1,
        "timeline": [make_step(at) for at in range(_STEPS)],
    }
    return whole | values


def write_sample(time: float) -> State:
    """A rich one, to look at."""
    routes = [_write_route(*row) for row in _ROUTES]
    services = [
        dict(
            zip(("name", "version", "instances", "requests", "errors", "average", "routes"), row, strict=True),
            nats=None,
        )
        for row in _SERVICES
    ]
    nats = make_nats(
        down=range(31, 36),
        partly=range(36, 38),
        servers=[
            {"name": "nats-eu-1", "version": "2.12.1", "cluster": "eu", "address": "10.0.4.17:4222"},
            {"name": "nats-eu-3", "version": "2.12.1", "cluster": "eu", "address": "10.0.4.19:4222"},
        ],
    )
    return make_state(
        time,
        routes,
        failing=0.0087,
        nats=nats,
        failures=_write_failures(time),
        services={"list": services, "note": None, "cut": False},
    )


def move(state: State, chance: random.Random) -> list[State]:
    """A second goes by. The rows that changed."""
    state["time"] += 1
    is_step = int(state["time"]) % _STEP == 0
    rows = [row for row in state["routes"] if row["rate"]]
    for row in rows:
        row["rate"] = max(0.1, row["rate"] * chance.uniform(0.96, 1.04))
        row["spark"] = _add_to(row["spark"], row["rate"], is_step=is_step)
    state["rate"] = sum(row["rate"] for row in rows)
    state["spark"] = _add_to(state["spark"], state["rate"], is_step=is_step)
    state["in_flight"] = max(0, state["in_flight"] + chance.randint(-9, 9))
    if is_step:
        step = {"state": "up", "round_trip": 0.0004 + 0.0003 * chance.random()}
        state["nats"]["timeline"] = [*state["nats"]["timeline"][1:], step]
        state["nats"]["round_trip"] = step["round_trip"]
    if chance.random() < 0.3:
        state["failures"] = [
            make_failure(
                state["time"],
                chance.getrandbits(120),
                route="search",
                status=504,
                slug="timeout",
                delivered="unknown",
                duration=5.0,
            ),
            *state["failures"],
        ][:100]
    return rows


def _add_to(line: list[float], value: float, *, is_step: bool) -> list[float]:
    """The last value stands for a step that is not over yet."""
    return [*line[1:], value] if is_step else [*line[:-1], value]


def _write_route(
    name: str,
    method: str,
    path: str,
    subject: str,
    rate: float,
    failing: float,
    refused: float,
    p50: float | None,
    slug: str | None,
    service: str | None,
) -> State:
    wave = [rate * (1 + 0.25 * _SEED.random()) * (0.1 if 31 <= at <= 35 else 1) for at in range(_STEPS)]
    return make_route(
        name,
        methods=[method],
        path=path,
        subject=subject,
        rate=rate,
        failing=failing,
        refused=refused,
        p50=p50,
        p95=p50 and p50 * 2.8,
        p99=p50 and p50 * 7.1,
        spark=wave,
        answered=False if slug == "no-responders" else None if rate == 0 else True,
        slug=slug,
        services=[service] if service else [],
    )


def _write_failures(time: float) -> list[State]:
    kinds: tuple[State, ...] = (
        {"route": "search", "status": 504, "slug": "timeout", "delivered": "unknown", "duration": 5.001},
        {"route": "payments-refund", "method": "POST"},
        {"route": "search", "status": 504, "slug": "timeout", "delivered": "unknown", "duration": 5.0, "more": 132},
        {
            "route": "orders-cancel",
            "method": "DELETE",
            "status": 504,
            "slug": "timeout",
            "delivered": "unknown",
            "duration": 2.0,
        },
        {"route": None, "method": None, "status": 400, "slug": "bad-request", "duration": 0.0001},
        {
            "route": "orders-create",
            "method": "POST",
            "status": 503,
            "slug": "not-connected",
            "duration": 0.0002,
            "more": 1840,
        },
        {"route": "orders-read", "status": 502, "slug": "connection-lost", "delivered": "unknown", "duration": 0.031},
        {"route": "search", "status": 500, "slug": "service-error", "delivered": "yes", "duration": 0.21},
    )
    return [make_failure(time - 7.3 * at, _SEED.getrandbits(120), **kinds[at % len(kinds)]) for at in range(28)]
