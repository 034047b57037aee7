"""Checks who calls before one of the gateway's own pages answers.

Laws:
1. The guard is part of the page itself, after the match of the path. So no spelling of a path can avoid it.
2. A page is guarded unless OPEN lists it. So new pages are guarded too.
"""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..edge.auth import Authenticate
from ..errors import KeysUnavailable
from ..formats.fields import Pair
from .asgi_exchange import EXCHANGE, AsgiExchange

OPEN = frozenset(
    (
        "/",  # leads elsewhere
        "/livez",
        "/readyz",
        "/healthz",
        "/problems",
        "/problems/{slug}",
        "/docs/assets/{name}",  # the same in every gateway, and pages of problems have their icon there
        "/favicon.ico",
    )
)
_PRIVATE: Pair = (b"cache-control", b"private")


def guard_pages(app: FastAPI, find_policy: Callable[[], Authenticate], *, patience: float) -> None:
    """Guard all pages that the application has now. Each request asks the current policy, which may take `patience`
    seconds. A page raises a GatewayError for a caller that is refused."""
    for page in app.router.routes:
        if isinstance(page, Route) and page.path not in OPEN:
            page.app = _guard(page.app, find_policy, patience)


def _guard(page: ASGIApp, find_policy: Callable[[], Authenticate], patience: float) -> ASGIApp:
    async def ask_first(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page if the policy lets the caller pass. Raises a GatewayError if it refuses the caller."""
        exchange: AsgiExchange = scope[EXCHANGE]
        request = exchange.request
        request.added += (_PRIVATE,)  # no cache may show it to somebody else
        if wait := find_policy().check(request):
            try:
                async with asyncio.timeout(patience):
                    await wait()
            except TimeoutError:
                raise KeysUnavailable from None
        await page(scope, receive, send)

    return ask_first
