"""The only wiring: settings and routes become a gateway. `uvicorn nats_http_gateway.main:app` works."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import structlog
from fastapi import FastAPI

from . import __version__
from .certificates import Certificate
from .checks.checker import Checker
from .deadlines import Deadlines
from .edge.cors import Cors
from .edge.key_sets import IssuerKey, KeySet
from .edge.page_rules import PageRules
from .exchange.events import write_time
from .exchange.kinds import name_publisher
from .exchange.plans import Limits
from .exchange.relay import Relay
from .exchange.server_timing import add_timing
from .exchange.traces import Traces, make_tracing
from .exchange.way_out import WayOut
from .formats.clusters import MAIN
from .formats.html import PAGES, STATUS
from .gateway import Address, Gateway
from .http.app import GatewayApp
from .http.behind_proxies import ForwardedProtocol
from .http.bounds import Bounds
from .http.fast import FastProtocol
from .http.lane import LaneName
from .http.page_guard import guard_pages
from .http.protocol import GatewayProtocol, ProtocolFactory
from .http.subscriber import Streams
from .http.tls import Tls
from .jwks.fetcher import JwksFetcher
from .nats.clusters import Clusters, Target, list_senders
from .nats.internals import check_nats
from .observe.access import log_failure, log_record, make_storm
from .observe.board import Board, Boards
from .observe.record import Observers
from .pages.assets import Assets, add_assets
from .pages.catalogue import add_catalogue
from .pages.docs import add_docs
from .pages.health import add_health
from .pages.monitor import Monitor, Place
from .pages.problems import add_problems
from .pages.redirects import add_redirects, lead_to
from .pages.state import Sources
from .prepared import PreparedRoutes, prepare
from .rates.counters import Counters
from .routefile.clusters import check_clusters
from .routefile.load import GREET, RESERVED, Info, RouteFile, load_route_file
from .routefile.pages import check_pages
from .routing.routes import Route
from .routing.table import RouteTable
from .serving import Serving
from .settings import Settings, load_settings

_log = structlog.get_logger("nats-http.main")

Routes = RouteFile | PreparedRoutes | Iterable[Route]
"""The kinds of routes that make a gateway."""


def create_app(settings: Settings | None = None, *, routes: Routes | None = None) -> FastAPI:
    """The gateway as an application for any ASGI server. Without `settings` it reads the environment; then it may raise
    SettingsError. Without `routes` it reads the route file of the settings; then it may raise RouteFileError. Raises
    TableError if routes conflict. Its lifespan owns the connection to NATS and the processes that check bodies.
    Middleware that you add to it sees every request, also those for routes."""
    settings = settings or load_settings(check_files=True)
    gateway = build_gateway(settings, routes=routes)
    if settings.proxy_protocol:
        _log.warning("proxy-protocol-not-read", hint="only `nats-http serve` and `dev` read it")
    if gateway.tls:
        _log.warning("tls-not-served", hint="only `nats-http serve` and `dev` serve it; use the options of this server")
    for host, port in gateway.beside:
        _log.warning("pages-not-served", address=f"{host}:{port}", hint="only `nats-http serve` and `dev` listen there")
    return gateway.app


def build_gateway(
    settings: Settings | None = None,
    *,
    routes: Routes | None = None,
    observers: Observers | None = None,
    boards: Boards | None = None,
    certificate: Certificate | None = None,
    load_development_keys: Callable[[], tuple[IssuerKey, ...]] | None = None,
) -> Gateway:
    """As `create_app`, but returns all parts of the gateway. `observers` replace the log. `boards` are the boards of
    all processes of this gateway, if it has several. Without a `certificate` it reads the one that the settings name,
    if any. If routes have schemes of tokens, `load_development_keys` returns keys that count beside those of the
    issuers. Raises IncompatibleNats and CertificateError as well."""
    check_nats()
    settings = settings or load_settings(check_files=True)
    if certificate is None and settings.certificate_files:
        certificate = settings.certificate_files.read()
    read = partial(load_route_file, settings.routes or GREET, clusters=settings.nats)
    prepared = _prepare(read() if routes is None else routes)
    check_clusters(prepared.table.routes, settings.nats)
    check_pages(settings, prepared.schemes, prepared.table.routes)
    parts = _Parts(settings, prepared, boards or Boards(Board()), observers, load_development_keys)
    app = parts.make_app(True, parts.relay)
    app.openapi = lambda: json.loads(parts.serving.prepared.openapi)  # type: ignore[method-assign] # FastAPI's documented way
    return Gateway(
        app=app,
        beside={place: parts.make_app_beside(place) for place in settings.addresses_beside},
        serving=parts.serving,
        relay=parts.relay,
        clusters=parts.clusters,
        streams=parts.streams,
        bounds=parts.bounds,
        drain=parts.drain,
        protocols=parts.make_protocols(app),
        monitor=parts.monitor,
        tls=Tls(certificate) if certificate else None,
        is_announced=settings.proxy_protocol,
        headers=() if settings.hsts is None else (("strict-transport-security", f"max-age={settings.hsts}"),),
    )


class _Parts:
    """The parts that the applications of one gateway share."""

    def __init__(
        self,
        settings: Settings,
        prepared: PreparedRoutes,
        boards: Boards,
        observers: Observers | None,
        load_development_keys: Callable[[], tuple[IssuerKey, ...]] | None,
    ) -> None:
        self._settings = settings
        self._load_development_keys = load_development_keys
        self.checker, self.drain, self.bounds = Checker(), asyncio.Event(), _make_bounds(settings)
        self.clusters, self.streams = _make_clusters(settings, self.drain), Streams(settings.max_streams)
        self.link = self.clusters[MAIN].link
        self._links = list_senders(self.clusters.links, name_publisher)
        self._assets = Assets()
        self.monitor = Monitor(
            settings,
            self._list_sources(boards),
            count_connections=lambda: self.bounds.connections,
            count_streams=lambda: self.streams.open,
            stream_counts=self.clusters.stream_counts,
        )
        self._observers = self.monitor.add_to(observers or _choose_observers(settings))
        self._tracing = make_tracing(__version__)
        self._traces = Traces(self._tracing, self._find_path, self._find_server) if self._tracing else None
        self._way_out = WayOut(self._observers, self.monitor.counts, self._traces)
        self.relay = self._make_relay(prepared.table, True, prepared.cors)
        self.jwks = JwksFetcher()
        self.counters = Counters(settings.rate_limit_storage, is_closed=settings.rate_limit_fallback == "closed")
        self._use_rules(prepared)
        self.serving = Serving(prepared, self.relay, (self._use_rules,))

    def _list_sources(self, boards: Boards) -> Sources:
        return Sources(
            boards=boards,
            links=self.clusters.links,
            find_title=lambda: self.serving.prepared.title,
            find_routes=lambda: self.serving.table.routes,
            find_remarks=lambda: self.serving.prepared.remarks,
            is_draining=self.drain.is_set,
            with_details=bool(self._settings.health_details),
        )

    def _use_rules(self, prepared: PreparedRoutes) -> None:
        found = (getattr(scheme, "keys", None) for scheme in prepared.schemes.values())
        sets = [keys for keys in found if isinstance(keys, KeySet)]
        development = self._load_development_keys() if sets and self._load_development_keys else ()
        for keys in sets:
            keys.development = development
        self.jwks.use(sets)
        self.counters.use(prepared.counters.values())
        self._page_policy = (self._settings.pages_auth or PageRules(())).make_policy(prepared.schemes)

    def _make_relay(self, table: RouteTable, place: Place, cors: Cors | None = None) -> Relay:
        settings, pages = self._settings, self._list_pages(place)
        on_send = (self._traces.begin,) if self._traces else ()
        return Relay(
            table,
            Limits.of(settings),
            self._way_out,
            settings.proxies,
            cors=cors,
            pages=pages,
            on_send=on_send,
            on_answer=(add_timing,) if settings.server_timing else (),
        )

    def _find_path(self, route: str) -> str | None:
        return self.relay.find_path(route)

    def _find_server(self, route: str) -> str | None:
        return self.clusters[self.relay.find_cluster(route)].link.server

    def _list_pages(self, place: Place) -> tuple[str, ...]:
        """The pages that link to each other at this place. `/` leads to the first one."""
        status = (STATUS,) if self._settings.status == place else ()
        metrics = ("/metrics",) if self._settings.metrics == place else ()
        own = tuple(page for page in PAGES if page != STATUS) if place is True else (*metrics, "/problems")
        return (*status, *own)

    def make_app(self, place: Place, relay: Relay) -> GatewayApp:
        """The application for a place, with the pages that belong there."""
        serving, pages = self.serving, self._list_pages(place)
        app = GatewayApp(
            relay=relay,
            links=self._links,
            checker=self.checker,
            uploads=self.bounds.uploads,
            feeds=self.clusters.feeds,
            streams=self.streams,
            drain=self.drain,
            title=serving.prepared.title,
            version=__version__,
            lifespan=self._live if place is True else None,
        )
        add_assets(app, self._assets)
        add_problems(app, relay.proxies, pages=pages)
        lead_to(app, pages[0])
        if place is True:
            details = bool(self._settings.health_details)
            add_health(
                app,
                self.clusters.links,
                self.drain,
                with_details=details,
                count_routes=lambda: len(serving.table.routes),
            )
            add_docs(
                app,
                self._assets,
                find_title=lambda: serving.prepared.title,
                write_openapi=lambda root: serving.prepared.write_openapi(root),
                pages=pages,
            )
            if self._settings.services:
                add_catalogue(app, self.clusters.links, lambda: serving.table.routes)
        self.monitor.add_pages(app, self._assets, place=place, pages=pages)
        if place is True and self._settings.pages_auth:
            guard_pages(app, lambda: self._page_policy, patience=self._settings.timeout)
        add_redirects(app)
        app.answer_not_found_early()
        return app

    def make_app_beside(self, place: Address) -> GatewayApp:
        """An application without routes, for pages at an address of their own."""
        return self.make_app(place, self._make_relay(RouteTable(()), place))

    @asynccontextmanager
    async def _live(self, _: FastAPI) -> AsyncIterator[None]:
        self.drain.clear()
        try:
            async with (
                self._tracing or nullcontext(),
                self.checker,
                self.jwks,
                self.counters,
                self.clusters.connected(),
                self.monitor.run(),
            ):
                yield
        finally:
            if self._observers.storm is not None:
                self._observers.storm.sum_up()

    def make_protocols(self, app: GatewayApp) -> dict[LaneName, ProtocolFactory]:
        """The functions by which the server of `app` makes the protocol of a connection, by lane."""
        bounds, drain = self.bounds, self.drain
        proxies = self.relay.proxies
        lane = ForwardedProtocol if proxies.are_trusted else FastProtocol
        fast = partial(lane, relay=self.relay, links=self._links, checker=self.checker, may_be_page=app.may_be_page)
        return {
            "fast": partial(fast, bounds=bounds, drain=drain, deadlines=Deadlines()),
            "asgi": partial(GatewayProtocol, bounds=bounds, way_out=self._way_out, proxies=proxies),
        }


def _prepare(routes: Routes) -> PreparedRoutes:
    if isinstance(routes, PreparedRoutes):
        return routes
    if not isinstance(routes, RouteFile):
        routes = RouteFile(RouteTable(routes, reserved=RESERVED), Info(), ())
    return prepare(routes)


def _make_clusters(settings: Settings, drain: asyncio.Event) -> Clusters:
    return Clusters(
        {name: Target(servers.nats_url, servers.credentials) for name, servers in settings.nats.items()},
        max_in_flight=settings.max_in_flight,
        max_per_caller=settings.max_in_flight_per_caller,
        drain=drain,
        write_time=write_time,
    )


def _make_bounds(settings: Settings) -> Bounds:
    """The limits of the settings. Usually the deadline of a request limits its body. `body_timeout` is for bodies that
    nobody waits for."""
    return Bounds(
        maximum=settings.max_connections, body_timeout=settings.max_timeout + 1, max_buffered=settings.max_buffered
    )


def _choose_observers(settings: Settings) -> Observers:
    if settings.logs_successes:
        return Observers(failure=(log_record,), other=(log_record,), storm=make_storm())
    return Observers(failure=(log_record if settings.access_log else log_failure,), storm=make_storm())


def __getattr__(name: str) -> FastAPI:
    """`main:app`, made at its first use, so that importing this module does not read the environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app()
    globals()["app"] = app
    return app
