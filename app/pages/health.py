"""`/livez`, `/readyz` and `/healthz`: whether the process runs, and whether it can take requests."""

import asyncio
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from .. import __version__
from ..formats.clusters import MAIN
from ..nats.link import Link

SHUTTING_DOWN, NOT_CONNECTED = "shutting down", "not connected to NATS"


def add_health(
    app: FastAPI,
    links: Mapping[str, Link],
    drain: asyncio.Event,
    *,
    with_details: bool,
    count_routes: Callable[[], int],
) -> None:
    """Add these pages. The gateway is ready if it is connected to a NATS cluster, any of `links` (ADR 17), and not
    shutting down. Otherwise a 503 has one of two texts as `reason`. `with_details` it has the full reason, with NATS's
    addresses and words but without secrets, and the state of each cluster if there are several. `/healthz` also has the
    version, the NATS server and counts. The log always has the full reason."""

    def report() -> dict[str, object]:
        reason = SHUTTING_DOWN if drain.is_set() else _find_reason(links)
        each = {"nats": _describe(links)} if with_details and len(links) > 1 else {}
        if reason is None:
            return {"status": "ready", **each}
        return {"status": "not ready", "reason": reason if with_details else _generalize(reason), **each}

    async def livez(_: Request) -> JSONResponse:
        return _answer({"status": "live"})

    async def readyz(_: Request) -> JSONResponse:
        return _answer(report())

    async def healthz(_: Request) -> JSONResponse:
        if not with_details:
            return _answer(report())
        in_flight = sum(link.in_flight for link in links.values())
        details = {"nats_server": links[MAIN].server, "in_flight": in_flight, "routes": count_routes()}
        return _answer(report() | {"version": __version__} | details)

    for path, endpoint in (("/livez", livez), ("/readyz", readyz), ("/healthz", healthz)):
        app.add_route(path, endpoint, include_in_schema=False)


def _find_reason(links: Mapping[str, Link]) -> str | None:
    """Why no cluster is connected; None if one is."""
    reasons = {name: reason for name, link in links.items() if (reason := link.reason) is not None}
    if len(reasons) < len(links):
        return None
    return reasons[MAIN] if len(links) == 1 else "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _describe(links: Mapping[str, Link]) -> dict[str, dict[str, object]]:
    return {
        name: {"connected": link.reason is None, "server": link.server, "reason": link.reason}
        for name, link in links.items()
    }


def _generalize(reason: str) -> str:
    return reason if reason == SHUTTING_DOWN else NOT_CONNECTED


def _answer(content: dict[str, object]) -> JSONResponse:
    status = 503 if "reason" in content else 200
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
