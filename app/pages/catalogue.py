"""`/services`: the services on NATS, their endpoints and numbers, and the routes that lead to them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ..exchange.responses import encode_json
from ..nats.link import Link
from ..routing.routes import Route
from .services_seen import ServiceSeen, ServicesSeen, name_other

PATH = "/services"


def add_catalogue(app: FastAPI, links: Mapping[str, Link], find_routes: Callable[[], Sequence[Route]]) -> None:
    """Add the page. It asks the services at most every few seconds, however many callers there are."""
    seen, lock = ServicesSeen(links), asyncio.Lock()

    async def page(_: Request) -> Response:
        async with lock:
            await seen.ask(find_routes())
        return Response(
            encode_json(_describe(seen)), media_type="application/json", headers={"cache-control": "no-store"}
        )

    app.add_route(PATH, page, include_in_schema=False)


def _describe(seen: ServicesSeen) -> dict[str, Any]:
    return {
        "services": [_describe_service(one) for one in seen.list_services()],
        "note": seen.note,
        "cut": seen.cut,
    }


def _describe_service(one: ServiceSeen) -> dict[str, Any]:
    described = asdict(one.service)
    del described["subjects"]
    return {**described, "nats": name_other(one.nats), "routes": one.routes}
