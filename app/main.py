"""The only wiring: settings and routes become a gateway. `uvicorn app.main:app` works."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from . import __version__
from .checks.checker import Checker
from .collector import freeze_young
from .deadlines import Deadlines
from .errors import CannotStart
from .exchange.plans import DEFAULT_LINK, Limits, Plans
from .exchange.relay import Relay
from .exchange.way_out import WayOut
from .http.app import GatewayApp
from .http.bounds import Bounds
from .http.fast import FastProtocol
from .http.lane import LaneName
from .http.protocol import GatewayProtocol, ProtocolFactory
from .http.server import GatewayServer, ServerBeside
from .nats.internals import check_nats
from .nats.link import Link
from .observe.access import log_failure, log_record
from .observe.board import Board, Boards
from .observe.counts import Counts
from .observe.gauges import Ask, Reporter
from .observe.record import Observers
from .pages.docs import add_docs
from .pages.health import add_health
from .pages.metrics import Metrics, add_metrics
from .pages.problems import add_problems
from .pages.redirects import add_redirects
from .pages.report import keep_reporting, list_counters, list_gauges, list_gauges_of_file
from .pieces import Steps, run_in_pieces
from .prepared import PreparedRoutes, prepare
from .routefile.load import GREET, RESERVED, Info, RouteFile, load_route_file
from .routing.routes import Route
from .routing.table import RouteTable
from .settings import Settings, load_settings

MAX_CONNECTIONS_BESIDE = 256  # at an address of pages
MAX_BUFFERED_BESIDE = 1024 * 1024  # bytes

Routes = RouteFile | PreparedRoutes | Iterable[Route]
"""What a gateway can be made of."""
Address = tuple[str, int]
"""Host and port."""


class Serving:
    """The routes that are served at this moment."""

    def __init__(self, prepared: PreparedRoutes, relay: Relay) -> None:
        self.prepared = prepared
        self._relay = relay

    @property
    def table(self) -> RouteTable:
        return self.prepared.table

    async def swap(self, fresh: PreparedRoutes) -> None:
        """Serve these routes from the next request on. Those before them must not be used elsewhere."""
        plans = await run_in_pieces(_plan_all(fresh.table, self._relay))
        before, old_plans = self.table, self._relay.use(fresh.table, plans)
        self.prepared = fresh
        freeze_young()
        await run_in_pieces(_let_go(before, old_plans))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of one gateway. `drain` is set when it stops: then every response closes its connection, and `/readyz`
    says 503. `protocols` are what its server makes of connections."""

    app: GatewayApp
    beside: Mapping[Address, GatewayApp]
    """Applications for addresses of their own, such as that of `GATEWAY_METRICS_ADDRESS`."""
    serving: Serving
    relay: Relay
    link: Link
    bounds: Bounds
    drain: asyncio.Event
    protocols: Mapping[LaneName, ProtocolFactory]
    gauges: dict[str, Ask]
    """What this process reports of itself."""

    def choose_lane(self, asked: LaneName | None) -> LaneName:
        """The one that is asked for, else the fast one, or ASGI where the application has middleware, which the fast
        lane does not run. Raises CannotStart where it would have to."""
        if asked == "fast" and self.app.has_middleware:
            raise CannotStart("the fast lane runs no middleware, and the application has some: leave --lane away")
        return asked or ("asgi" if self.app.has_middleware else "fast")

    def make_server(self, *, lane: LaneName | None, drain_timeout: float) -> GatewayServer:
        """Its server on the lane that `choose_lane` says, with bounds on connections. Raises CannotStart."""
        protocol = self.protocols[self.choose_lane(lane)]
        return GatewayServer(self.app, protocol, bounds=self.bounds, drain=self.drain, drain_timeout=drain_timeout)

    def make_server_beside(self, address: Address) -> ServerBeside:
        """The server of one of `beside`, with bounds of its own."""
        bounds = Bounds(maximum=MAX_CONNECTIONS_BESIDE, body_timeout=1.0, max_buffered=MAX_BUFFERED_BESIDE)
        relay = self.relay
        protocol = partial(GatewayProtocol, bounds=bounds, way_out=relay.way_out, proxies=relay.proxies)
        return ServerBeside(self.beside[address], protocol, bounds=bounds, drain=self.drain, drain_timeout=0.0)


def create_app(settings: Settings | None = None, *, routes: Routes | None = None) -> FastAPI:
    """The gateway as an application for any ASGI server. Without settings it reads the environment, and raises
    SettingsError for what is wrong there; without routes it reads those of the settings, and raises RouteFileError;
    TableError for routes that conflict. Its lifespan owns the connection to NATS and the processes that check bodies.
    Middleware that is added to it sees every request, those for routes too."""
    return build_gateway(settings, routes=routes).app


def build_gateway(
    settings: Settings | None = None,
    *,
    routes: Routes | None = None,
    observers: Observers | None = None,
    boards: Boards | None = None,
) -> Gateway:
    """As `create_app`, with all parts. `observers` take the place of the log; `boards` are those of the processes of
    this gateway, where it has several. Raises IncompatibleNats as well."""
    check_nats()
    settings = settings or load_settings(check_files=True)
    boards = boards or Boards(Board())
    prepared = _prepare(load_route_file(settings.routes or GREET) if routes is None else routes)
    link, checker, drain, bounds = _make_link(settings), Checker(), asyncio.Event(), _make_bounds(settings)
    links = {DEFAULT_LINK: link}
    observers = observers or _choose_observers(access_log=bool(settings.access_log))
    way_out = WayOut(observers, Counts(boards.own) if settings.metrics or settings.status else None)
    relay = Relay(prepared.table, Limits.of(settings), way_out, settings.proxies)
    serving = Serving(prepared, relay)
    gauges = _list_gauges(settings, serving, link, bounds)
    if boards.are_alone:
        gauges |= list_gauges_of_file(is_right=lambda: True, loaded_at=partial(float, time.time()))
    reporter = Reporter(boards.own, gauges=gauges, counters=list_counters(link))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        drain.clear()
        async with checker, link, keep_reporting(reporter):
            yield

    make_app = partial(
        GatewayApp, links=links, checker=checker, uploads=bounds.uploads, drain=drain, version=__version__
    )
    app = make_app(relay=relay, title=prepared.title, lifespan=lifespan)
    beside = {address: _make_app_beside(make_app, relay, settings) for address in settings.addresses_beside}
    _add_pages(app, serving, relay, link, drain, with_details=bool(settings.health_details))
    if settings.metrics:
        add_metrics(_find_app(settings.metrics, app, beside), Metrics(boards, reporter.report))
    for each in (app, *beside.values()):
        each.answer_not_found_early()
    protocols: dict[LaneName, ProtocolFactory] = {
        "fast": partial(_make_fast(app, relay, links, checker), bounds=bounds, drain=drain, deadlines=Deadlines()),
        "asgi": partial(GatewayProtocol, bounds=bounds, way_out=way_out, proxies=settings.proxies),
    }
    return Gateway(
        app=app,
        beside=beside,
        serving=serving,
        relay=relay,
        link=link,
        bounds=bounds,
        drain=drain,
        protocols=protocols,
        gauges=gauges,
    )


def _make_app_beside(make_app: Callable[..., GatewayApp], relay: Relay, settings: Settings) -> GatewayApp:
    """An application without routes, for pages at an address of their own."""
    nothing = Relay(RouteTable(()), Limits.of(settings), relay.way_out, relay.proxies)
    app = make_app(relay=nothing, title="nats-http", lifespan=None)
    add_problems(app, relay.proxies)
    add_redirects(app)
    return app


def _find_app(place: bool | Address, app: GatewayApp, beside: Mapping[Address, GatewayApp]) -> GatewayApp:
    return beside[place] if isinstance(place, tuple) else app


def _list_gauges(settings: Settings, serving: Serving, link: Link, bounds: Bounds) -> dict[str, Ask]:
    return list_gauges(
        link,
        limit=settings.max_in_flight,
        count_connections=lambda: bounds.connections,
        count_routes=lambda: len(serving.table.routes),
    )


def _make_fast(app: GatewayApp, relay: Relay, links: Mapping[str, Link], checker: Checker) -> partial[FastProtocol]:
    return partial(FastProtocol, relay=relay, links=links, checker=checker, may_be_page=app.may_be_page)


def _prepare(routes: Routes) -> PreparedRoutes:
    if isinstance(routes, PreparedRoutes):
        return routes
    if not isinstance(routes, RouteFile):
        routes = RouteFile(RouteTable(routes, reserved=RESERVED), Info(), ())
    return prepare(routes)


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


def _choose_observers(*, access_log: bool) -> Observers:
    return Observers(failure=(log_record,), other=(log_record,)) if access_log else Observers(failure=(log_failure,))


def _add_pages(
    app: GatewayApp, serving: Serving, relay: Relay, link: Link, drain: asyncio.Event, *, with_details: bool
) -> None:
    app.openapi = lambda: json.loads(serving.prepared.openapi)  # type: ignore[method-assign] # FastAPI's documented way
    add_health(app, link, drain, with_details=with_details, count_routes=lambda: len(serving.table.routes))
    add_docs(
        app, find_title=lambda: serving.prepared.title, write_openapi=lambda root: serving.prepared.write_openapi(root)
    )
    add_problems(app, relay.proxies)
    add_redirects(app)


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


def __getattr__(name: str) -> FastAPI:
    """`app.main:app`, made when it is first asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app()
    globals()["app"] = app
    return app
