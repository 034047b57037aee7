"""What the gateway says of itself: where its pages lead, and what their headers say, whatever a caller sends."""

import httpx
import pytest
from fastapi.responses import RedirectResponse, Response

from app.main import create_app
from app.prepared import prepare
from app.routefile.load import Info, RouteFile
from app.routing.table import RouteTable
from app.settings import Settings
from tests.harness import GREET_ROUTES, Gateway, NatsServer, run_gateway

REDIRECTS = {
    "/": "/docs",
    "/docs/": "/docs",
    "/docs///": "/docs",
    "/redoc/?x=1&y=%2F": "/redoc?x=1&y=%2F",
    '/redoc/?q="<>': "/redoc?q=%22%3C%3E",
    "/problems/": "/problems",
    "/problems/timeout/": "/problems/timeout",
    "/problems/a%3Fb%23c%25d%5C/": "/problems/a%3Fb%23c%25d%5C",
    "/problems/%C3%A9/": "/problems/%C3%A9",
    "/livez/": "/livez",
    "/docs/assets": "/docs/assets/",
}
HOSTS = [b"evil.example", b"evil.example:81", b"[::1]"]


def find_field(answer: bytes, name: str) -> list[str]:
    """Every value of a field of a response."""
    lines = [line.partition(b":") for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value.strip().decode("latin-1") for key, _, value in lines if key.decode().lower() == name]


@pytest.mark.parametrize(("target", "place"), REDIRECTS.items())
async def test_a_redirect_leads_to_a_place_of_this_gateway_whatever_host_says(
    gateway: Gateway, target: str, place: str
) -> None:
    for host in HOSTS:
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
        for method in (b"GET", b"HEAD", b"POST") if target != "/" else (b"GET", b"HEAD"):
            answer = await gateway.send_raw(head % (method, target.encode(), host))
            assert answer.startswith(b"HTTP/1.1 307 "), answer
            assert find_field(answer, "location") == [place]
            assert b"evil" not in answer


async def test_a_path_that_begins_with_two_slashes_is_never_redirected(shared_nats: NatsServer) -> None:
    """A browser would take it for a host."""
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/{path:path}/end")
        async def end(path: str) -> None: ...

        assert (await gateway.get_raw(b"/evil.example/end/")).startswith(b"HTTP/1.1 307 ")
        assert (await gateway.get_raw(b"//evil.example/end/")).startswith(b"HTTP/1.1 404 ")


async def test_a_redirect_keeps_the_root_path(shared_nats: NatsServer) -> None:
    app = create_app(Settings(nats_url=(shared_nats.url,)))
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for path, place in {"/api": "/api/", "/api/": "/api/docs", "/api/docs/": "/api/docs"}.items():
            assert (await client.get(path)).headers["location"] == place


async def test_a_redirect_of_one_s_own_may_lead_elsewhere(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/manual")
        async def manual() -> RedirectResponse:
            return RedirectResponse("https://manual.example/")

        assert (await gateway.get("/manual")).headers["location"] == "https://manual.example/"


ALL_KINDS = {
    "GET /": 307,
    "GET /docs": 200,
    "GET /docs/": 307,
    "GET /redoc": 200,
    "GET /openapi.json": 200,
    "GET /docs/assets/swagger-ui.css": 200,
    "GET /docs/assets/redoc.standalone.js": 200,
    "GET /docs/assets/nothing": 404,
    "GET /problems": 200,
    "HEAD /problems/timeout": 200,
    "GET /problems/nothing": 404,
    "GET /livez": 200,
    "GET /readyz": 200,
    "GET /healthz": 200,
    "GET /nothing": 404,
    "DELETE /docs": 405,
    "GET /livez%0a": 404,
    "GET /typed?number=x": 422,
    "GET /typed?number=0": 500,
    "GET /typed?number=1": 200,
    "GET /greet/sue": 503,
    "GET /greet/a.b": 422,
    "PUT /greet/sue": 405,
    "OPTIONS /greet/sue": 204,
    "NOT HTTP": 400,
}


async def test_every_response_forbids_sniffing_and_says_so_once(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/typed")
        async def typed(number: int) -> Response:
            return Response(str(1 // number), headers={"X-Content-Type-Options": "nosniff"})

        answers = {
            line: await gateway.send_raw(f"{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            for line in ALL_KINDS
        }
    assert {line: int(answer.split()[1]) for line, answer in answers.items()} == ALL_KINDS
    found = {line: ", ".join(find_field(answer, "x-content-type-options")) for line, answer in answers.items()}
    assert found == dict.fromkeys(ALL_KINDS, "nosniff")


async def test_a_file_that_has_not_changed_forbids_sniffing_too(gateway: Gateway) -> None:
    path = "/docs/assets/swagger-ui.css"
    etag = (await gateway.get(path)).headers["etag"]
    again = await gateway.get(path, if_none_match=etag)
    assert (again.status_code, again.headers["x-content-type-options"]) == (304, "nosniff")


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_title_of_the_route_file_is_text_and_no_markup(shared_nats: NatsServer, page: str) -> None:
    routes = RouteFile(RouteTable(GREET_ROUTES), Info(title="</title><script>alert(1)</script> & \"'"), [])
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        shown = (await gateway.get(page)).text
        assert shown.count("<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;&#x27;</title>") == 1
        assert "alert(1)</script>" not in shown
        assert "</style></head>" in shown if page == "/docs" else '<redoc sanitize="true" spec-url=' in shown
        await gateway.parts.serving.swap(prepare(RouteFile(RouteTable(GREET_ROUTES), Info(title="<b>"), [])))
        assert "<title>&lt;b&gt;</title>" in (await gateway.get(page)).text


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_root_path_is_text_and_no_markup(shared_nats: NatsServer, page: str) -> None:
    app = create_app(Settings(nats_url=(shared_nats.url,)))
    root = "/a'\"<script>"
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        shown = (await client.get(f"{root}{page}")).text
        assert "/a%27%22%3Cscript%3E/openapi.json" in shown
        assert root not in shown
