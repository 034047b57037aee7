"""The only wiring: settings and routes become a FastAPI application. `uvicorn app.main:app` works."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from app import __version__
from app.docs import add_docs
from app.health import add_health
from app.lanes.asgi import AsgiLane
from app.link import Link
from app.observe.log import choose_observers
from app.openapi import build_openapi
from app.problems import add_problems
from app.relay import Relay
from app.routes import PACKAGED_ROUTES, Route, RouteTable
from app.settings import Settings, load_settings

RESERVED = ("docs", "redoc", "openapi.json", "livez", "readyz", "healthz", "problems")

_TITLE = "NATS HTTP gateway"
_DESCRIPTION = (
    "Each route becomes one NATS request; the reply becomes the response. A failure is a problem document "
    "(RFC 9457) whose `delivered` says whether the service has run: see [the list of problems](/problems)."
)


class GatewayApp(FastAPI):
    """A FastAPI application behind a lane: only what is no route pays for FastAPI."""

    def __init__(
        self, wrap: Callable[[ASGIApp], ASGIApp], *, title: str, version: str, lifespan: Lifespan["GatewayApp"]
    ) -> None:
        super().__init__(
            title=title, version=version, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
        )
        self._lane = wrap(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._lane(scope, receive, send)


def create_app(settings: Settings | None = None, *, routes: Iterable[Route] = PACKAGED_ROUTES) -> FastAPI:
    """The gateway as an application. Without settings it reads the environment, and raises SettingsError for what is
    wrong there; ValueError for routes that conflict. Its lifespan owns the connection to NATS and yields the state
    `drain`, an event: set it and every response closes its connection and `/readyz` says 503."""
    settings = settings or load_settings()
    table = RouteTable(routes, reserved=RESERVED)
    link = Link(settings.nats_url, max_in_flight=settings.max_in_flight)
    relay = Relay(
        table,
        timeout=settings.timeout,
        max_timeout=settings.max_timeout,
        max_body=settings.max_body,
        observers=choose_observers(access_log=bool(settings.access_log)),
    )
    drain = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        drain.clear()
        async with link:
            yield {"drain": drain}

    app = GatewayApp(
        lambda inner: AsgiLane(inner, relay=relay, link=link, drain=drain),
        title=_TITLE,
        version=__version__,
        lifespan=lifespan,
    )
    document = build_openapi(table, title=_TITLE, version=__version__, description=_DESCRIPTION)
    app.openapi = lambda: document  # type: ignore[method-assign] # FastAPI's documented way to replace it

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse(document)

    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.state.link = link
    add_health(app, link, drain)
    add_docs(app)
    add_problems(app)
    return app


def __getattr__(name: str) -> FastAPI:
    """`app.main:app`, made when it is first asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app()
    globals()["app"] = app
    return app
