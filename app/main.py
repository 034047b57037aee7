"""The only wiring: settings and routes become a FastAPI application. `uvicorn app.main:app` works."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from . import __version__
from .checks.checker import Checker
from .collector import freeze_young
from .deadlines import Deadlines
from .exchange.relay import Plans, Relay
from .exchange.responses import NOSNIFF
from .http.asgi import AsgiLane
from .http.bounds import Bounds
from .http.fast import FastProtocol
from .http.lane import LaneName
from .http.protocol import GatewayProtocol, ProtocolFactory
from .http.server import GatewayServer
from .nats.link import Link
from .observe.access import log_record
from .observe.record import Observers
from .pages.docs import add_docs
from .pages.health import add_health
from .pages.problems import add_problems
from .pages.redirects import add_redirects
from .pieces import Steps, run_in_pieces
from .prepared import PreparedRoutes, prepare
from .routefile.load import GREET, RESERVED, Info, RouteFile, load_route_file
from .routing.routes import Route
from .routing.table import RouteTable
from .settings import Settings, load_settings


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
        if scope["type"] == "http":
            send = _with_nosniff(send)
            if scope["path"].endswith("\n"):
                scope["path"] += "\n"
        await super().__call__(scope, receive, send)


def _with_nosniff(send: Send) -> Send:
    """Every response that the framework makes has it as well: pages, files, redirects and errors."""

    async def send_with_nosniff(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [pair for pair in message.get("headers", ()) if pair[0].lower() != NOSNIFF[0]]
            message["headers"] = [*others, NOSNIFF]
        await send(message)

    return send_with_nosniff


def create_app(
    settings: Settings | None = None, *, routes: RouteFile | PreparedRoutes | Iterable[Route] | None = None
) -> FastAPI:
    """The gateway as an application. Without settings it reads the environment, and raises SettingsError for what is
    wrong there; without routes those of the settings, and raises RouteFileError; TableError for routes that conflict.

    Its lifespan owns the connection to NATS and the processes that check bodies. It yields the state `drain`, an event:
    set it and every response closes its connection and `/readyz` says 503. `await app.state.serve(served)` changes to
    what `prepare` made, between two requests; the routes before it must not be used elsewhere. Any ASGI server can
    serve it; `build_server` makes the one that also bounds connections, and that has the fast lane."""
    settings = settings or load_settings(check_files=True)
    if routes is None:
        routes = load_route_file(settings.routes or GREET)
    served = routes if isinstance(routes, PreparedRoutes) else prepare(_to_route_file(routes))
    link = _make_link(settings)
    relay = _make_relay(served.table, settings)
    checker = Checker()
    drain = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        drain.clear()
        async with checker, link:
            yield {"drain": drain}

    bounds = _make_bounds(settings)
    app = GatewayApp(
        lambda inner: AsgiLane(inner, relay=relay, link=link, checker=checker, drain=drain, uploads=bounds.uploads),
        title=served.title,
        version=__version__,
        lifespan=lifespan,
    )

    app.state.link = link
    app.state.bounds = bounds
    app.state.protocols = {
        "fast": partial(
            FastProtocol,
            bounds=bounds,
            relay=relay,
            link=link,
            checker=checker,
            drain=drain,
            deadlines=Deadlines(),
        ),
        "asgi": partial(GatewayProtocol, bounds=bounds),
    }
    _add_served(app, served, relay)
    add_health(
        app,
        link,
        drain,
        with_details=bool(settings.health_details),
        count_routes=lambda: len(app.state.served.table.routes),
    )
    add_docs(app)
    add_problems(app)
    add_redirects(app)
    return app


def _make_link(settings: Settings) -> Link:
    return Link(
        settings.nats_url,
        max_in_flight=settings.max_in_flight,
        max_per_caller=settings.max_in_flight_per_caller,
        credentials=settings.credentials,
    )


def _make_bounds(settings: Settings) -> Bounds:
    """A body has to arrive before its request's own deadline; the timeout is for those that nobody waits for."""
    return Bounds(
        maximum=settings.max_connections, body_timeout=settings.max_timeout + 1, max_buffered=settings.max_buffered
    )


def _make_relay(table: RouteTable, settings: Settings) -> Relay:
    return Relay(
        table,
        timeout=settings.timeout,
        max_timeout=settings.max_timeout,
        max_body=settings.max_body,
        observers=_choose_observers(access_log=bool(settings.access_log)),
    )


def _choose_observers(*, access_log: bool) -> Observers:
    return Observers(failure=(log_record,), other=(log_record,) if access_log else ())


def _add_served(app: FastAPI, served: PreparedRoutes, relay: Relay) -> None:
    """What is served now, its OpenAPI document, and the way to serve something else."""
    app.state.served = served

    async def serve(fresh: PreparedRoutes) -> None:
        plans = await run_in_pieces(_plan_all(fresh.table, relay))
        old_table, old_plans = app.state.served.table, relay.use(fresh.table, plans)
        app.state.served, app.title = fresh, fresh.title
        freeze_young()
        await run_in_pieces(_let_go(old_table, old_plans))

    async def openapi(_: Request) -> Response:
        return Response(app.state.served.openapi, media_type="application/json")

    app.openapi = lambda: json.loads(app.state.served.openapi)  # type: ignore[method-assign] # FastAPI's documented way
    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.state.serve = serve


def _plan_all(table: RouteTable, relay: Relay) -> Steps[Plans]:
    plans: Plans = {}
    is_alone = len(table.routes) == 1
    for route in table.routes:
        plans[route] = relay.plan(route, is_alone=is_alone)
        yield
    return plans


def _let_go(table: RouteTable, plans: Plans) -> Steps[None]:
    """To free all of it at once would be a pause that grows with the routes."""
    while plans:
        plans.popitem()
        yield
    yield from table.let_go()


def build_server(app: FastAPI, *, lane: LaneName, drain_timeout: float) -> GatewayServer:
    """The server of what `create_app` made: routes are answered in the protocol, or by the application."""
    bounds: Bounds = app.state.bounds
    protocol: ProtocolFactory = app.state.protocols[lane]
    return GatewayServer(app, protocol, bounds=bounds, drain_timeout=drain_timeout)


def _to_route_file(routes: RouteFile | Iterable[Route]) -> RouteFile:
    return routes if isinstance(routes, RouteFile) else RouteFile(RouteTable(routes, reserved=RESERVED), Info(), ())


def __getattr__(name: str) -> FastAPI:
    """`app.main:app`, made when it is first asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app()
    globals()["app"] = app
    return app
