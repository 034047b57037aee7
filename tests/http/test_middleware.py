"""Middleware that a user adds to the application sees every request, those for routes too."""

import asyncio

import httpx
import pytest
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.edge.allow_from import AllowFrom
from app.gateway import Gateway
from app.main import build_gateway, create_app
from app.observe.record import Observers, Record
from app.routing.routes import Route
from app.settings import Settings
from tests.harness import NatsServer, RawPeer, eventually, replying, responder, serve

ROUTES = [
    Route(name="greet", methods=("GET",), path="/greet/{name}", subject="mw.{name}"),
    Route(
        name="inner",
        methods=("GET",),
        path="/inner",
        subject="mw.inner",
        policies=(AllowFrom(["192.0.2.1"]),),
    ),
]
ORIGIN = {"origin": "https://a.example"}


@pytest.fixture(autouse=True)
def lane() -> None:
    """Middleware is of one lane only."""


class Proxied:
    """Says who the caller is, as the middleware of a proxy does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "client": ("192.0.2.1", 1)}, receive, send)


def make_parts(nats: str, observers: Observers | None = None) -> Gateway:
    return build_gateway(Settings(nats_url=(nats,)), routes=ROUTES, observers=observers)


async def ask(parts: Gateway, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def test_cors_middleware_adds_its_header_to_routes_and_pages_and_answers_preflights(
    shared_nats: NatsServer,
) -> None:
    parts = make_parts(shared_nats.url)
    parts.app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])
    async with responder(shared_nats.url, "mw.*", replying(b"hi")), parts.app.router.lifespan_context(parts.app):
        await eventually(lambda: parts.link.reason is None)
        for path in ("/greet/sue", "/greet/a.b", "/livez", "/nowhere"):
            assert (await ask(parts, path, **ORIGIN)).headers["access-control-allow-origin"] == "https://a.example"
        preflight = await ask(parts, "/greet/sue", "OPTIONS", **ORIGIN, access_control_request_method="GET")
        assert preflight.headers["access-control-allow-origin"] == "https://a.example"


async def test_what_middleware_says_of_the_caller_counts(shared_nats: NatsServer) -> None:
    parts = make_parts(shared_nats.url)
    parts.app.add_middleware(Proxied)
    async with responder(shared_nats.url, "mw.*", replying(b"hi")), parts.app.router.lifespan_context(parts.app):
        await eventually(lambda: parts.link.reason is None)
        assert (await ask(parts, "/inner")).status_code == 200
    assert (await ask(make_parts(shared_nats.url), "/inner")).status_code == 403


async def test_a_response_of_middleware_is_a_record_with_its_own_status(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    parts = make_parts(shared_nats.url, Observers(other=(records.append,)))

    async def refuse(_: Request, __: object) -> Response:
        return JSONResponse({"no": True}, 418)

    parts.app.middleware("http")(refuse)
    assert (await ask(parts, "/greet/sue")).status_code == 418
    assert [(record.route, record.status) for record in records] == [(None, 418)]


async def test_the_server_of_an_application_with_middleware_takes_the_lane_that_runs_it(
    shared_nats: NatsServer,
) -> None:
    plain, wrapped = make_parts(shared_nats.url), make_parts(shared_nats.url)
    wrapped.app.add_middleware(Proxied)
    assert plain.make_server(lane=None, drain_timeout=1.0).protocol is plain.protocols["fast"]
    assert wrapped.make_server(lane=None, drain_timeout=1.0).protocol is wrapped.protocols["asgi"]
    assert plain.make_server(lane="asgi", drain_timeout=1.0).protocol is plain.protocols["asgi"]


async def test_middleware_sees_routes_over_a_socket_too(shared_nats: NatsServer) -> None:
    parts = make_parts(shared_nats.url)
    parts.app.add_middleware(CORSMiddleware, allow_origins=["*"])
    async with responder(shared_nats.url, "mw.*", replying(b"hi")), serve(parts, lane=None) as gateway:
        await gateway.wait_until_ready()
        response = await gateway.get("/greet/sue", **ORIGIN)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")


async def test_a_caller_who_leaves_behind_middleware_is_one_record_and_no_crash(
    shared_nats: NatsServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    records: list[Record] = []
    parts = make_parts(shared_nats.url, Observers(failure=(records.append,), other=(records.append,)))

    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    parts.app.middleware("http")(pass_on)
    async with RawPeer.connect(shared_nats.url, "mw.*") as peer, serve(parts, lane=None) as gateway:
        await gateway.wait_until_ready()
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\n")
        await peer.next()
        writer.transport.abort()
        await eventually(lambda: bool(records))
        assert [(record.route, record.status, record.is_written) for record in records] == [("greet", 499, False)]
    assert "internal-error" not in capsys.readouterr().out
    assert "Exception in ASGI application" not in caplog.text


async def test_a_request_id_of_middleware_may_be_of_any_bytes(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    parts = make_parts(shared_nats.url, Observers(other=(records.append,)))

    async def echo(_: Request, __: object) -> Response:
        return Response("x", headers={"x-request-id": "\xe9"})

    parts.app.middleware("http")(echo)
    assert (await ask(parts, "/greet/sue")).status_code == 200
    assert [record.request_id for record in records] == ["\xe9"]


async def test_behind_a_prefix_pages_and_problems_know_it_also_where_middleware_is_in_front(
    shared_nats: NatsServer,
) -> None:
    settings = Settings(nats_url=(shared_nats.url,), root_path="/api", trusted_proxies=("127.0.0.1",))
    parts = build_gateway(settings, routes=ROUTES)

    @parts.app.middleware("http")
    async def fail(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if "fail" in request.url.path:
            raise RuntimeError
        return await call_next(request)

    transport = httpx.ASGITransport(parts.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for headers, root in (({}, "/api"), ({"x-forwarded-prefix": "/shop"}, "/shop")):
            assert (await client.get("/", headers=headers)).headers["location"] == f"{root}/status"
            for path in ("/nothing", "/problems/nothing", "/fail", "/greet/a.b"):
                problem = (await client.get(path, headers=headers)).json()
                assert problem["type"].startswith(f"{root}/problems/")
                assert problem["instance"] == root + path


async def test_an_application_says_which_pages_its_server_does_not_serve(capsys: pytest.CaptureFixture[str]) -> None:
    create_app(Settings.model_validate({"metrics_address": "127.0.0.1:9090"}))
    assert "pages-not-served" in capsys.readouterr().out


async def test_an_application_says_that_its_server_reads_no_proxy_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    create_app(Settings.model_validate({"trusted_proxies": ("127.0.0.1",), "proxy_protocol": True}))
    assert "proxy-protocol-not-read" in capsys.readouterr().out
