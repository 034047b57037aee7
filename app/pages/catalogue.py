"""`/services`: the services on NATS, their endpoints and numbers, and the routes that lead to them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ..discovery.services import Service
from ..exchange.responses import encode_json
from ..nats.link import Link
from ..routing.routes import Route
from .state import ServicesSeen

PATH = "/services"


def add_catalogue(app: FastAPI, link: Link, find_routes: Callable[[], Sequence[Route]]) -> None:
    """Add the page. It asks the services at most every few seconds, however many callers there are."""
    seen, lock = ServicesSeen(link), asyncio.Lock()

    async def page(_: Request) -> Response:
        async with lock:
            await seen.ask(find_routes())
        return Response(
            encode_json(_describe(seen)), media_type="application/json", headers={"cache-control": "no-store"}
        )

    app.add_route(PATH, page, include_in_schema=False)


def _describe(seen: ServicesSeen) -> dict[str, Any]:
    found = seen.services
    if found is None:
        return {"services": [], "note": None, "cut": False}
    pairs = zip(found.services, seen.leads, strict=True)
    return {"services": [_describe_service(*pair) for pair in pairs], "note": found.note, "cut": found.cut}


def _describe_service(service: Service, routes: Sequence[str]) -> dict[str, Any]:
    described = asdict(service)
    del described["subjects"]
    return {**described, "routes": routes}
