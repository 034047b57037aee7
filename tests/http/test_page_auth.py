"""GATEWAY_PAGES_AUTH: who may see the gateway's own pages, over both lanes."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

import app.pages.status
from app.edge.api_keys import digest_key
from app.edge.page_rules import PageRules
from app.errors import CannotStart
from app.main import build_gateway
from app.prepared import prepare
from app.routefile.load import RouteFile, load_route_file
from app.settings import Settings
from tests.harness import PATIENCE, Gateway, NatsServer, replying, responder, run_gateway
from tests.issuer import ISSUER, answering, hang, make_claims, make_jwk, make_jwks, run_issuer, sign

KEYS = f"""\
version: 1
keys:
  - {{name: sue, sha256: {digest_key(b"sues-key")}, scopes: [pages:read]}}
  - {{name: bob, sha256: {digest_key(b"bobs-key")}}}
"""
ROUTES = """\
version: 1
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
  widgets: {type: api-key, query: api_key, file: keys.yaml}
  shops: {type: api-key, cookie: session, file: keys.yaml}
cors: {allow_origins: 'https://a.example'}
routes:
  - {name: free, method: GET, path: /free, subject: p.free, auth: none}
"""
RULES = PageRules(("partners", "widgets", "shops"), ("pages:read",))
GUARDED = ("/docs", "/redoc", "/openapi.json", "/status", "/status/data", "/status/events", "/metrics")
OPEN = ("/livez", "/readyz", "/healthz", "/problems", "/problems/not-found", "/docs/assets/favicon.svg", "/free")


@pytest.fixture
def file(tmp_path: Path) -> RouteFile:
    (tmp_path / "keys.yaml").write_text(KEYS)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load_route_file(tmp_path / "routes.yaml")


async def head(gateway: Gateway, path: str, **fields: str) -> httpx.Response:
    """The answer, without the body, which may have no end."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with gateway.client.stream("GET", path, headers=headers) as response:
        return response


async def test_who_is_known_and_may_sees_the_pages_and_nobody_else(shared_nats: NatsServer, file: RouteFile) -> None:
    async with run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway:
        for path in GUARDED:
            response = await head(gateway, path, x_api_key="sues-key")
            assert (response.status_code, "private" in response.headers["cache-control"]) == (200, True), path
            assert (await head(gateway, f"{path}?api_key=sues-key")).status_code == 200, path
            assert (await head(gateway, path, cookie="session=sues-key")).status_code == 200, path
            assert (await head(gateway, path, x_api_key="bobs-key")).status_code == 403, path
            for fields in ({}, {"x_api_key": "wrong"}, {"authorization": "Basic c3VlOnN1ZXMta2V5"}):
                response = await gateway.get(path, **fields)
                assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated"), path
                assert response.headers.get_list("www-authenticate") == [
                    'ApiKey realm="partners", in="header", name="X-API-Key"',
                    'ApiKey realm="widgets", in="query", name="api_key"',
                    'ApiKey realm="shops", in="cookie", name="session"',
                ]
                assert "no-store" in response.headers["cache-control"]


async def test_who_watches_is_asked_again_after_a_while(
    shared_nats: NatsServer, file: RouteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.pages.status, "LONGEST_ASKED", 0.1)
    async with run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway, asyncio.timeout(PATIENCE):
        events = await gateway.get("/status/events", x_api_key="sues-key")  # all of them
        assert events.text.startswith("event: ")


async def test_health_problems_and_routes_stay_as_they_are(shared_nats: NatsServer, file: RouteFile) -> None:
    async with (
        responder(shared_nats.url, "p.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway,
    ):
        for path in OPEN:
            assert (await gateway.get(path)).status_code == 200, path
        assert (await gateway.get("/nowhere")).status_code == 404
        assert (await gateway.get("/")).status_code == 307
        response = await gateway.get("/docs/")
        assert (response.status_code, response.headers["location"]) == (307, "/docs")


@pytest.mark.parametrize(
    "target",
    [
        "/%64ocs",
        "/docs%2F",
        "/docs?",
        "/docs#x",
        "/docs;a=b",
        "//docs",
        "/./docs",
        "/docs/assets/../../docs",
        "/problems/..%2fmetrics",
        "/metrics%0a",
        "/METRICS",
        "/status%2fdata",
        "http://t/metrics",
        "/livez/../metrics",
    ],
)
async def test_no_spelling_of_a_path_leads_past_the_question(
    shared_nats: NatsServer, file: RouteFile, target: str
) -> None:
    async with run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway:
        for method in ("GET", "HEAD"):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(f"{method} {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert int(answer[9:12]) in (307, 401, 404), answer[:100]
            writer.close()


async def test_a_browser_gets_a_page_that_says_why_and_other_origins_can_read_it(
    shared_nats: NatsServer, file: RouteFile
) -> None:
    async with run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway:
        response = await gateway.get("/docs", accept="text/html", origin="https://a.example")
        assert (response.status_code, response.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert response.headers["access-control-allow-origin"] == "https://a.example"
        assert "www-authenticate" in response.headers["access-control-expose-headers"]


async def test_behind_middleware_the_pages_ask_as_well(shared_nats: NatsServer, file: RouteFile) -> None:
    settings = Settings.model_validate({"nats_url": (shared_nats.url,), "pages_auth": RULES})
    parts = build_gateway(settings, routes=file)

    @parts.app.middleware("http")
    async def rename(request: Request, call_next: Any) -> Response:
        if request.url.path == "/renamed":
            request.scope["path"] = "/metrics"
        response: Response = await call_next(request)
        return response

    async with httpx.AsyncClient(transport=httpx.ASGITransport(parts.app), base_url="http://gateway") as client:
        for path in ("/metrics", "/renamed"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers={"x-api-key": "sues-key"})).status_code == 200


async def test_pages_at_an_address_of_their_own_are_not_asked(shared_nats: NatsServer, file: RouteFile) -> None:
    address = ("127.0.0.1", 1)
    settings = Settings.model_validate({"nats_url": (shared_nats.url,), "pages_auth": RULES, "status": address})
    parts = build_gateway(settings, routes=file)
    transport = httpx.ASGITransport(parts.beside[address])
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/metrics")).status_code == 200
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/docs")).status_code == 401


def test_a_scheme_that_the_route_file_does_not_have_is_refused_by_name(file: RouteFile) -> None:
    for name, routes, words in (
        (
            "partner",
            file,
            "GATEWAY_PAGES_AUTH 'partner': no scheme of this name is under `auth` of the route file, did",
        ),
        ("users", file, "of the route file; known are partners, widgets, shops"),
        ("users", [], "of the route file; it has no schemes"),
    ):
        settings = Settings.model_validate({"pages_auth": PageRules((name,))})
        with pytest.raises(CannotStart) as caught:
            build_gateway(settings, routes=routes)
        assert words in str(caught.value)


async def test_a_token_opens_the_pages_and_waits_for_keys_that_are_not_known_no_longer_than_a_request(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with run_issuer() as issuer:
        (tmp_path / "routes.yaml").write_text(
            "version: 1\nauth:\n"
            f"  users: {{type: jwt, issuer: '{ISSUER}', audience: orders, jwks_url: '{issuer.url}'}}\n"
            "routes: [{name: free, method: GET, path: /free, subject: p.free, auth: none}]\n"
        )
        file = load_route_file(tmp_path / "routes.yaml")
        rules = PageRules(("users",), ("pages:read",))
        async with run_gateway(shared_nats.url, routes=file, pages_auth=rules, timeout=0.5) as gateway:
            right = sign(make_claims(scope="pages:read"))
            assert (await gateway.get("/openapi.json", authorization=f"Bearer {right}")).status_code == 200
            response = await gateway.get("/openapi.json", authorization=f"Bearer {sign()}")
            assert response.status_code == 403
            assert 'error="insufficient_scope", scope="pages:read"' in response.headers["www-authenticate"]
            response = await gateway.get("/openapi.json")
            assert response.headers["www-authenticate"] == 'Bearer realm="users"'
            issuer.answer = hang
            other = sign(make_claims(scope="pages:read"), kid="new")
            assert (await gateway.get("/metrics", authorization=f"Bearer {other}")).status_code == 503
            issuer.answer = answering(make_jwks(make_jwk("new")))


async def test_after_a_reload_the_pages_ask_for_the_new_keys(
    shared_nats: NatsServer, file: RouteFile, tmp_path: Path
) -> None:
    async with run_gateway(shared_nats.url, routes=file, pages_auth=RULES) as gateway:
        (tmp_path / "keys.yaml").write_text(KEYS.replace(digest_key(b"sues-key"), digest_key(b"new-key")))
        await gateway.parts.serving.swap(prepare(load_route_file(tmp_path / "routes.yaml")))
        assert (await gateway.get("/docs", x_api_key="sues-key")).status_code == 401
        assert (await gateway.get("/docs", x_api_key="new-key")).status_code == 200
