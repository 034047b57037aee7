"""What a page of another origin gets from a gateway whose route file has `cors`."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Receive, Scope, Send

from app.edge.cors import Cors, CorsRules
from app.edge.policy import AsyncCheck
from app.edge.request import Request
from app.errors import Forbidden
from app.main import build_gateway
from app.pieces import run_at_once
from app.prepared import pack, prepare, unpack
from app.routefile.load import RouteFile, load_route_file
from app.routing.routes import Route
from app.settings import Settings
from tests.harness import Gateway, NatsServer, replying, responder, run_gateway, serve

APP, OTHER = "https://app.example", "https://evil.example"
EXPOSED = "x-request-id, retry-after, ratelimit, ratelimit-policy, allow, accept, server-timing, www-authenticate"
OF_REPLIES = "content-disposition, etag, location, link"
SAFE = "accept, accept-language, content-language, content-type"
ALWAYS = "traceparent, tracestate, x-request-id, x-request-timeout"
FILE = f"""
version: 1
cors: {{allow_origins: {APP}, allow_credentials: true}}
routes:
  - name: read
    method: GET
    path: /items/{{id}}
    subject: cors.read.{{id}}
    params: {{X-Tenant: {{in: header}}}}
    payload: params
    reply: {{headers: [content-type, vary, x-total]}}
  - {{name: write, method: [PUT, DELETE], path: "/items/{{id}}", subject: "cors.write.{{id}}", headers: [if-match]}}
  - {{name: own, method: POST, path: "/items/{{id}}", subject: "cors.own.{{id}}", cors: {{allow_origins: "*"}}}}
  - {{name: closed, method: GET, path: /closed, subject: cors.closed, cors: none}}
  - {{name: small, method: POST, path: /small, subject: cors.small, max_body: 4}}
  - {{name: guarded, method: GET, path: /guarded, subject: cors.guarded, allow_from: 10.0.0.0/8}}
  - {{name: nobody, method: GET, path: /nobody, subject: nobody.there}}
"""


@pytest.fixture
def file(tmp_path: Path) -> RouteFile:
    path = tmp_path / "cors.yaml"
    path.write_text(FILE)
    return load_route_file(path)


@pytest_asyncio.fixture
async def gateway(shared_nats: NatsServer, file: RouteFile) -> AsyncIterator[Gateway]:
    reply = replying(b"hi", {"Vary": "Accept-Language", "X-Total": "3"})
    async with responder(shared_nats.url, "cors.>", reply), run_gateway(shared_nats.url, routes=file) as gateway:
        yield gateway


def read_cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def read_vary(response: httpx.Response) -> set[str]:
    values = response.headers.get_list("vary")
    assert len(values) <= 1
    return {name.strip().lower() for value in values for name in value.split(",")}


async def preflight(
    gateway: Gateway, path: str, method: str, *, origin: str = APP, headers: str = ""
) -> httpx.Response:
    asked = {"Access-Control-Request-Headers": headers} if headers else {}
    fields = {"Origin": origin, "Access-Control-Request-Method": method, **asked}
    return await gateway.client.request("OPTIONS", path, headers=fields)


async def test_an_answer_can_be_read_by_a_page_of_an_origin_that_is_listed(gateway: Gateway) -> None:
    response = await gateway.get("/items/1", origin=APP)
    assert (response.status_code, response.text) == (200, "hi")
    assert read_cors(response) == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": f"{EXPOSED}, x-total",
    }
    assert read_vary(response) == {"accept-language", "x-tenant", "origin"}


@pytest.mark.parametrize("headers", [{}, {"origin": OTHER}, {"origin": "null"}, {"origin": f"{APP}.evil.example"}])
async def test_any_other_page_gets_an_answer_that_only_varies(gateway: Gateway, headers: dict[str, str]) -> None:
    for path in ("/items/1", "/nobody", "/nowhere", "/livez"):
        response = await gateway.get(path, **headers)
        assert read_cors(response) == {}
        assert "origin" in read_vary(response)


PROBLEMS = [
    ("GET", "/items/a.b", b"", 422),
    ("GET", "/nowhere", b"", 404),
    ("PATCH", "/items/1", b"", 405),
    ("POST", "/small", b"12345", 413),
    ("GET", "/guarded", b"", 403),
    ("GET", "/nobody", b"", 503),
    ("POST", "/livez", b"", 405),
    ("GET", "/problems/nothing", b"", 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), PROBLEMS)
async def test_a_page_can_read_why_its_request_failed(
    gateway: Gateway, method: str, path: str, body: bytes, status: int
) -> None:
    response = await gateway.client.request(method, path, content=body, headers={"Origin": APP})
    assert (response.status_code, response.json()["status"]) == (status, status)
    fields = read_cors(response)
    assert fields["access-control-allow-origin"] == APP
    assert fields["access-control-expose-headers"].startswith(EXPOSED)
    assert {"accept", "origin"} <= read_vary(response) or path == "/livez"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/docs", "/problems", "/problems/timeout"])
async def test_a_page_can_read_the_pages_of_the_gateway(gateway: Gateway, path: str) -> None:
    response = await gateway.get(path, origin=APP)
    assert response.status_code == 200
    assert read_cors(response)["access-control-allow-origin"] == APP
    assert read_vary(response) >= ({"accept", "origin"} if path.startswith("/problems") else {"origin"})
    assert "access-control-allow-origin" in read_cors(await preflight(gateway, path, "GET", headers="x-request-id"))


async def test_a_route_may_have_rules_of_its_own_or_none(gateway: Gateway) -> None:
    own = await gateway.client.post("/items/1", headers={"Origin": OTHER})
    exposed = f"{EXPOSED}, {OF_REPLIES}"
    assert read_cors(own) == {"access-control-allow-origin": "*", "access-control-expose-headers": exposed}
    closed = await gateway.get("/closed", origin=APP)
    assert (closed.status_code, read_cors(closed), read_vary(closed)) == (200, {}, {"accept-language"})


async def test_a_preflight_is_answered_by_the_routes_of_its_path_with_the_same_rules(gateway: Gateway) -> None:
    response = await preflight(gateway, "/items/1", "DELETE")
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["allow"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
    names = sorted(f"{SAFE}, {ALWAYS}, content-encoding, if-match, x-tenant".split(", "))
    assert read_cors(response) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "GET, HEAD, PUT, DELETE",
        "access-control-allow-headers": ", ".join(names),
        "access-control-max-age": "600",
        "access-control-allow-credentials": "true",
    }
    assert read_vary(response) == {"origin", "access-control-request-method", "access-control-request-headers"}
    other = read_cors(await preflight(gateway, "/items/1", "POST", origin=OTHER))
    assert (other["access-control-allow-origin"], other["access-control-allow-methods"]) == ("*", "POST")


async def test_a_preflight_of_another_page_or_for_a_route_without_rules_is_a_plain_options(gateway: Gateway) -> None:
    refused = await preflight(gateway, "/items/1", "GET", origin=OTHER)
    assert (refused.status_code, read_cors(refused)) == (204, {})
    assert "origin" in read_vary(refused)
    closed = await preflight(gateway, "/closed", "GET")
    plain = await gateway.client.options("/closed")
    assert (closed.status_code, closed.headers["allow"], read_cors(closed)) == (204, "GET, HEAD, OPTIONS", {})
    assert set(closed.headers) == set(plain.headers)


async def test_a_method_that_no_route_takes_is_not_allowed_and_a_path_that_none_has_lets_its_404_be_read(
    gateway: Gateway,
) -> None:
    taken = read_cors(await preflight(gateway, "/items/1", "PATCH"))
    assert taken["access-control-allow-methods"] == "GET, HEAD, PUT, DELETE"
    nowhere = read_cors(await preflight(gateway, "/nowhere", "PATCH", headers="x-any"))
    assert nowhere["access-control-allow-methods"] == "PATCH"
    assert "x-any" in nowhere["access-control-allow-headers"]


async def test_a_plain_options_is_as_without_rules(gateway: Gateway) -> None:
    for headers in ({}, {"Origin": APP}):
        response = await gateway.client.options("/items/1", headers=headers)
        assert (response.status_code, read_cors(response)) == (204, {})
        assert "vary" not in response.headers


async def test_a_body_that_breaks_off_is_a_problem_that_a_page_can_read(gateway: Gateway) -> None:
    head = f"PUT /items/1 HTTP/1.1\r\nHost: t\r\nOrigin: {APP}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await gateway.send_raw(head.encode() + b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert f"access-control-allow-origin: {APP}\r\n".encode() in answer


async def test_a_route_file_without_rules_adds_nothing(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:
        for path in ("/greet/sue", "/nowhere", "/livez"):
            response = await gateway.get(path, origin=APP)
            assert read_cors(response) == {}
            assert "origin" not in read_vary(response)
        assert read_cors(await preflight(gateway, "/greet/sue", "GET")) == {}
        assert (await preflight(gateway, "/livez", "GET")).status_code == 405


async def test_a_reload_changes_the_rules(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(FILE.replace(APP, "https://new.example"))
    await gateway.parts.serving.swap(run_at_once(unpack(pack(load_route_file(path)))))
    for target in ("/items/1", "/nowhere", "/livez"):
        assert read_cors(await gateway.get(target, origin=APP)) == {}
        assert read_cors(await gateway.get(target, origin="https://new.example")) != {}
    path.write_text(FILE.replace("cors: {", "x-was: {").replace(', x-was: {allow_origins: "*"}', ""))
    await gateway.parts.serving.swap(prepare(load_route_file(path)))
    assert read_cors(await gateway.get("/livez", origin="https://new.example")) == {}


class Counting:
    """A policy that tells in each answer how often it was asked, as one that counts requests does."""

    fields: frozenset[bytes] = frozenset()
    errors = (Forbidden,)

    def __init__(self, *, waits: bool) -> None:
        self._counter = itertools.count(1)
        self._waits = waits

    def check(self, request: Request) -> AsyncCheck | None:
        if self._waits:
            return lambda: self._count(request)
        self._add(request)
        return None

    async def _count(self, request: Request) -> None:
        await asyncio.sleep(0)
        self._add(request)

    def _add(self, request: Request) -> None:
        count = next(self._counter)
        request.added += ((b"x-count", b"%d" % count),)
        if count > 1:
            raise Forbidden


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_policy_adds_stands_in_each_answer(shared_nats: NatsServer, waits: bool) -> None:
    rules = Cors(CorsRules(allow_origins=frozenset((APP,))))
    routes = [Route(name="c", methods=("GET",), path="/c", subject="cors.c", policies=(rules, Counting(waits=waits)))]
    async with (
        responder(shared_nats.url, "cors.c", replying(b"hi")),
        run_gateway(shared_nats.url, routes=routes, server_timing=True) as gateway,
    ):
        for status, count in ((200, "1"), (403, "2")):
            response = await gateway.get("/c", origin=APP)
            assert (response.status_code, response.headers["x-count"]) == (status, count)
            assert response.headers["access-control-allow-origin"] == APP
            assert "gateway;dur=" in response.headers["server-timing"]


class Passing:
    """Middleware that changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def test_behind_middleware_an_answer_has_each_field_once(shared_nats: NatsServer, file: RouteFile) -> None:
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)), routes=file)
    parts.app.add_middleware(Passing)
    async with responder(shared_nats.url, "cors.>", replying(b"hi")), serve(parts, lane=None) as gateway:
        await gateway.wait_until_ready()
        for path, status in (("/items/1", 200), ("/nobody", 503), ("/nowhere", 404), ("/livez", 200)):
            response = await gateway.get(path, origin=APP)
            assert response.status_code == status, path
            assert response.headers.get_list("access-control-allow-origin") == [APP]
            assert "origin" in read_vary(response)
        assert "access-control-allow-methods" in (await preflight(gateway, "/items/1", "PUT")).headers


class Broken(Counting):
    def _add(self, _: Request) -> None:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_page_can_read_that_there_is_a_bug(shared_nats: NatsServer, waits: bool) -> None:
    rules = Cors(CorsRules(allow_origins=frozenset((APP,))))
    routes = [Route(name="c", methods=("GET",), path="/c", subject="cors.c", policies=(rules, Broken(waits=waits)))]
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        response = await gateway.get("/c", origin=APP)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (500, APP)
