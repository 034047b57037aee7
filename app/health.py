"""/livez, /readyz and /healthz: whether the process runs, whether it can take requests, and both with details."""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from app import __version__
from app.link import Link


def add_health(app: FastAPI, link: Link, drain: asyncio.Event, *, count_routes: Callable[[], int]) -> None:
    """Ready means: connected to NATS and not shutting down. 503 gives the `reason`, without secrets."""

    def report() -> dict[str, object]:
        trouble = "shutting down" if drain.is_set() else link.trouble
        return {"status": "ready"} if trouble is None else {"status": "not ready", "reason": trouble}

    async def livez(_: Request) -> JSONResponse:
        return _answer({"status": "live"})

    async def readyz(_: Request) -> JSONResponse:
        return _answer(report())

    async def healthz(_: Request) -> JSONResponse:
        details = {"nats_server": link.server, "in_flight": link.in_flight, "routes": count_routes()}
        return _answer(report() | {"version": __version__} | details)

    for path, endpoint in (("/livez", livez), ("/readyz", readyz), ("/healthz", healthz)):
        app.add_route(path, endpoint, include_in_schema=False)


def _answer(content: dict[str, object]) -> JSONResponse:
    status = 503 if "reason" in content else 200
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
