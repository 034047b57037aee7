"""The only wiring: settings and routes become a FastAPI application. `uvicorn app.main:app` works."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from app import __version__
from app.deadlines import Deadlines
from app.docs import add_docs
from app.health import add_health
from app.lanes import LaneName
from app.lanes.asgi import AsgiLane
from app.lanes.fast import FastProtocol
from app.link import Link
from app.observe.log import choose_observers
from app.openapi import build_openapi
from app.problems import add_problems
from app.protocol import Connections, GatewayProtocol, Protocol
from app.relay import Relay
from app.routefile import GREET, RESERVED, Info, RouteFile, load_route_file
from app.routes import Route
from app.server import GatewayServer, spare_collector
from app.settings import Settings, load_settings
from app.table import RouteTable

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
        self._lane = wrap(self._serve_page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._lane(scope, receive, send)

    async def _serve_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's patterns end in `$`, which also matches before a final newline: /livez%0a would be /livez."""
        if scope["type"] == "http" and scope["path"].endswith("\n"):
            scope["path"] += "\n"
        await super().__call__(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Served:
    """Routes that are ready to be served. `openapi` is JSON."""

    table: RouteTable
    title: str
    openapi: bytes


def prepare(file: RouteFile) -> Served:
    """Make all of a route file that takes time, so that serving it takes none."""
    info = file.info
    document = build_openapi(
        file.table, title=info.title, version=info.version or __version__, description=info.description or _DESCRIPTION
    )
    return Served(file.table, info.title, json.dumps(document, ensure_ascii=False).encode("utf-8"))


def create_app(settings: Settings | None = None, *, routes: RouteFile | Iterable[Route] | None = None) -> FastAPI:
    """The gateway as an application. Without settings it reads the environment, and raises SettingsError for what is
    wrong there; without routes those of the settings, and raises RouteFileError; TableError for routes that conflict.

    Its lifespan owns the connection to NATS and yields the state `drain`, an event: set it and every response closes
    its connection and `/readyz` says 503. `app.state.serve` takes what `prepare` made, between two requests. Any ASGI
    server can serve it; `build_server` makes the one that also bounds connections, and that has the fast lane."""
    settings = settings or load_settings(check_files=True)
    if routes is None:
        routes = load_route_file(settings.routes or GREET)
    served = prepare(routes if isinstance(routes, RouteFile) else _to_route_file(routes))
    link = Link(
        settings.nats_url,
        max_in_flight=settings.max_in_flight,
        max_per_caller=settings.max_in_flight_per_caller,
        credentials=settings.credentials,
    )
    relay = _make_relay(served.table, settings)
    drain = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        drain.clear()
        async with link:
            yield {"drain": drain}

    app = GatewayApp(
        lambda inner: AsgiLane(inner, relay=relay, link=link, drain=drain),
        title=served.title,
        version=__version__,
        lifespan=lifespan,
    )

    app.state.link = link
    # A body has to arrive before its request's own deadline; this is for those that nobody waits for.
    app.state.bounds = bounds = Connections(maximum=settings.max_connections, body_timeout=settings.max_timeout + 1)
    app.state.protocols = {
        "fast": partial(FastProtocol, bounds=bounds, relay=relay, link=link, drain=drain, deadlines=Deadlines()),
        "asgi": partial(GatewayProtocol, bounds=bounds),
    }
    _add_served(app, served, relay)
    add_health(app, link, drain, count_routes=lambda: len(app.state.served.table.routes))
    add_docs(app)
    add_problems(app)
    return app


def _make_relay(table: RouteTable, settings: Settings) -> Relay:
    return Relay(
        table,
        timeout=settings.timeout,
        max_timeout=settings.max_timeout,
        max_body=settings.max_body,
        observers=choose_observers(access_log=bool(settings.access_log)),
    )


def _add_served(app: FastAPI, served: Served, relay: Relay) -> None:
    """What is served now, its OpenAPI document, and the way to serve something else."""
    app.state.served = served

    def serve(fresh: Served) -> None:
        app.state.served, app.title = fresh, fresh.title
        relay.use(fresh.table)
        spare_collector()

    async def openapi(_: Request) -> Response:
        return Response(app.state.served.openapi, media_type="application/json")

    app.openapi = lambda: json.loads(app.state.served.openapi)  # type: ignore[method-assign] # FastAPI's documented way
    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.state.serve = serve


def build_server(app: FastAPI, *, lane: LaneName, drain_timeout: float) -> GatewayServer:
    """The server of what `create_app` made: routes are answered in the protocol, or by the application."""
    bounds: Connections = app.state.bounds
    protocol: Protocol = app.state.protocols[lane]
    return GatewayServer(app, protocol, bounds=bounds, drain_timeout=drain_timeout)


def _to_route_file(routes: Iterable[Route]) -> RouteFile:
    return RouteFile(RouteTable(routes, reserved=RESERVED), Info(), {})


def __getattr__(name: str) -> FastAPI:
    """`app.main:app`, made when it is first asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app()
    globals()["app"] = app
    return app
