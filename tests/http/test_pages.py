"""What the gateway says of itself: where its pages lead, and what their headers say, whatever a caller sends."""

import re
from typing import Any

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
    "/": "/status",
    "/docs/": "/docs",
    "/docs///": "/docs",
    "/redoc/?x=1&y=%2F": "/redoc?x=1&y=%2F",
    '/redoc/?q="<>': "/redoc?q=%22%3C%3E",
    "/problems/": "/problems",
    "/problems/timeout/": "/problems/timeout",
    "/problems/a%3Fb%23c%25d%5C/": "/problems/a%3Fb%23c%25d%5C",
    "/problems/%C3%A9/": "/problems/%C3%A9",
    "/livez/": "/livez",
    "/docs/assets/docs.css/": "/docs/assets/docs.css",
    "/favicon.ico": "/docs/assets/favicon.svg",
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
        for method in (b"GET", b"HEAD", b"POST") if target.endswith("/") and target != "/" else (b"GET", b"HEAD"):
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
        await gateway.parts.serving.swap(prepare(RouteFile(RouteTable(GREET_ROUTES), Info(title="<b>"), [])))
        assert "<title>&lt;b&gt;</title>" in (await gateway.get(page)).text


async def test_a_page_of_the_documentation_runs_no_script_but_ours(gateway: Gateway) -> None:
    for page in ("/docs", "/redoc"):
        answer = await gateway.get(page)
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert re.findall(r"<script(?! src=\"/docs/assets/)", answer.text) == []


# Assets


async def test_an_asset_that_a_page_names_never_has_to_be_asked_for_again(gateway: Gateway) -> None:
    named = {
        match
        for page in ("/docs", "/redoc")
        for match in re.findall(r'"(/docs/assets/[^"]+)"', (await gateway.get(page)).text)
    }
    assert {address.partition("?")[0].rpartition("/")[2] for address in named} == {
        "docs.css",
        "docs.js",
        "favicon.svg",
        "redoc.standalone.js",
        "swagger-ui-bundle.js",
        "swagger-ui.css",
    }
    for address in named:
        answer = await gateway.get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        plain, _, version = address.partition("?v=")
        for other in (plain, f"{plain}?v={version}0"):
            assert (await gateway.get(other)).headers["cache-control"] == "public, no-cache"
        again = await gateway.get(plain, if_none_match=f'"x", W/{answer.headers["etag"]}')
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


@pytest.mark.parametrize(
    ("asked", "is_compressed"),
    [("gzip, deflate, br", True), ("*", True), ("br", False), ("gzip;q=0", False), ("identity", False), ("", False)],
)
async def test_an_asset_is_compressed_for_whoever_can_read_that(
    gateway: Gateway, asked: str, is_compressed: bool
) -> None:
    path = "/docs/assets/swagger-ui.css"
    answer = await gateway.get(path, accept_encoding=asked)
    assert (answer.headers.get("content-encoding") == "gzip") is is_compressed
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (int(answer.headers["content-length"]) < len(answer.content) / 3) is is_compressed
    other = await gateway.get(path, accept_encoding="identity" if is_compressed else "gzip")
    assert answer.content == other.content
    assert answer.headers["etag"] != other.headers["etag"]


async def test_a_head_request_for_an_asset_has_its_headers_and_no_body(gateway: Gateway) -> None:
    path = "/docs/assets/docs.css"
    whole, head = await gateway.get(path), await gateway.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    fields = ("content-length", "content-type", "content-encoding", "etag", "cache-control", "vary")
    assert [head.headers[name] for name in fields] == [whole.headers[name] for name in fields]


async def test_a_name_that_is_no_asset_is_not_found(gateway: Gateway) -> None:
    for target in (b"/docs/assets/nothing", b"/docs/assets/..%2Fdocs.py", b"/docs/assets/../docs.py", b"/docs/assets/"):
        assert (await gateway.get_raw(target)).startswith(b"HTTP/1.1 404 "), target


async def test_the_icon_is_a_drawing_of_ours(gateway: Gateway) -> None:
    answer = await gateway.client.get("/favicon.ico", follow_redirects=True)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.text.startswith("<svg ")


# Problems for people

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PROBLEMS = {
    "GET /nothing": 404,
    "GET /docs/assets/nothing": 404,
    "DELETE /docs": 405,
    "PUT /greet/sue": 405,
    "GET /greet/a.b": 422,
    "GET /greet/sue": 503,
}


async def test_a_problem_is_a_page_for_browsers_and_the_same_document_as_ever_for_everybody_else(
    gateway: Gateway,
) -> None:
    for line, status in PROBLEMS.items():
        method, path = line.split()
        page = await gateway.client.request(method, path, headers={"accept": BROWSER, "x-request-id": "r-1"})
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), line
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        plain = await gateway.client.request(method, path, headers={"accept": "*/*", "x-request-id": "r-1"})
        document = plain.json()
        for accept in ("", "application/json", "application/problem+json, text/html;q=0.9", "text/html;q=0", "image/*"):
            other = await gateway.client.request(method, path, headers={"accept": accept, "x-request-id": "r-1"})
            assert (other.content, other.headers["content-type"]) == (plain.content, "application/problem+json")
        for answer in (page, plain):
            assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Accept", "no-store")
            assert answer.headers["x-request-id"] == "r-1"
            assert answer.headers.get("allow") == plain.headers.get("allow")
        for text in (f"<title>{status} ", document["title"], "r-1", f'href="{document["type"]}"', document["instance"]):
            assert text in page.text, line


async def test_a_page_of_a_problem_has_no_markup_of_the_caller(gateway: Gateway) -> None:
    target = b"/no'thing/<script>alert(1)</script>\"><img/src=x>"
    head = b"GET %b HTTP/1.1\r\nHost: t\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    for path in (target, target.replace(b"/no'thing", b"/greet")):
        answer = await gateway.send_raw(head % path)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img/src=x&gt;" in answer
        assert b"<script" not in answer
        assert b"<img" not in answer


async def test_the_list_of_problems_says_which_can_be_retried_and_that_a_service_chooses_its_status(
    gateway: Gateway,
) -> None:
    listed = (await gateway.get("/problems", accept="text/html")).text
    rows = dict(re.findall(r'<tr><td>([^<]+)</td><td><a href="/problems/([^"]+)">', listed))
    retryable = set(re.findall(r'/problems/([^"]+)">[^<]+</a></td><td>no</td><td>yes</td>', listed))
    assert retryable == {
        problem["type"][10:] for problem in (await gateway.get("/problems")).json() if problem["retryable"]
    }
    assert rows["400–599"] == "service-error"
    assert "Status 400–599" in (await gateway.get("/problems/service-error", accept=BROWSER)).text


# Behind a prefix

ROOTED: dict[str, Any] = {"root_path": "/api"}
BY_PROXY: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}


@pytest.mark.parametrize(
    ("settings", "said"), [(ROOTED, ""), (BY_PROXY, "/api"), (BY_PROXY | {"root_path": "/x"}, "/api/")]
)
async def test_all_that_leads_a_caller_back_begins_with_the_prefix(
    shared_nats: NatsServer, settings: dict[str, Any], said: str
) -> None:
    headers = {"x-forwarded-prefix": said} if said else {}
    async with run_gateway(shared_nats.url, **settings) as gateway:

        async def ask(path: str, **more: str) -> httpx.Response:
            return await gateway.client.get(path, headers={**headers, **more})

        for path, place in {
            "/": "/api/status",
            "/docs/": "/api/docs",
            "/favicon.ico": "/api/docs/assets/favicon.svg",
        }.items():
            assert (await ask(path)).headers["location"] == place
        for path in ("/docs", "/redoc", "/problems", "/problems/timeout", "/nothing", "/greet/sue", "/greet/a.b"):
            page = await ask(path, accept="text/html")
            links = re.findall(r'(?:href|src|data-openapi)="([^"]+)"', page.text)
            assert len(links) > 3
            assert [link for link in links if not link.startswith("/api/")] == [], path
        for path in ("/nothing", "/docs/assets/nothing", "/greet/sue", "/greet/a.b"):
            problem = (await ask(path)).json()
            assert problem["type"].startswith("/api/problems/")
            assert problem["instance"] == f"/api{path}"
        assert {row["type"][:14] for row in (await ask("/problems")).json()} == {"/api/problems/"}
        assert (await ask("/problems/timeout")).json()["type"] == "/api/problems/timeout"
        document = (await ask("/openapi.json")).json()
        assert document["servers"] == [{"url": "/api"}]
        assert '"/problems/' not in (await ask("/openapi.json")).text
        assert list(document["paths"]) == ["/greet/{name}"]
        crash = await gateway.send_raw(b"NOT HTTP\r\n\r\n")
        assert (b'"type":"/api/problems/' in crash) is (settings == ROOTED)


async def test_a_caller_that_is_no_trusted_proxy_can_t_choose_where_links_lead(shared_nats: NatsServer) -> None:
    for trusted in (None, ("192.0.2.0/24",)):
        async with run_gateway(shared_nats.url, trusted_proxies=trusted) as gateway:
            for path in ("/docs", "/nothing", "/greet/sue", "/problems", "/openapi.json"):
                assert "/evil" not in (await gateway.get(path, x_forwarded_prefix="/evil")).text
            assert (await gateway.get("/", x_forwarded_prefix="/evil")).headers["location"] == "/status"


async def test_the_root_path_of_another_server_counts_as_well(shared_nats: NatsServer) -> None:
    app = create_app(Settings(nats_url=(shared_nats.url,)))
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for path, place in {"/api": "/api/", "/api/": "/api/status", "/api/docs/": "/api/docs"}.items():
            assert (await client.get(path)).headers["location"] == place
        for path in ("/api/nothing", "/api/greet/a.b", "/api/problems/nothing"):
            problem = (await client.get(path)).json()
            assert (problem["type"][:14], problem["instance"]) == ("/api/problems/", path)


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/problems", "/nothing"])
async def test_the_root_path_is_text_and_no_markup(shared_nats: NatsServer, page: str) -> None:
    app = create_app(Settings(nats_url=(shared_nats.url,)))
    root = "/a'\"<script>"
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        shown = (await client.get(f"{root}{page}", headers={"accept": "text/html"})).text
        assert "/a%27%22%3Cscript%3E/" in shown
        assert root not in shown
