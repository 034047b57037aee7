"""Pages of two origins in a real Chromium, of which the gateway allows one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from playwright.async_api import Browser, Page

from app.routefile.load import load_route_file
from tests.harness import PATIENCE, Gateway, NatsServer, responder, run_gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = """
version: 1
cors: {{allow_origins: {origin}, allow_credentials: true, max_age: 0}}
routes:
  - name: read
    method: GET
    path: /items/{{id}}
    subject: shop.read.{{id}}
    headers: [cookie]
    params: {{X-Tenant: {{in: header, header: X-Tenant}}}}
    reply: {{content_type: application/json}}
  - {{name: write, method: PUT, path: "/items/{{id}}", subject: "shop.write.{{id}}", accepts: [application/json]}}
  - {{name: open, method: GET, path: /open, subject: shop.open, cors: {{allow_origins: "*"}}}}
  - {{name: closed, method: POST, path: /closed, subject: shop.closed, cors: none}}
  - {{name: nobody, method: GET, path: /nobody, subject: nobody.there}}
"""
FETCH = """async ([url, init]) => {
    try {
        const response = await fetch(url, init)
        return {status: response.status, body: await response.text(), headers: [...response.headers.keys()]}
    } catch (error) {
        return {refused: error.name}
    }
}"""
REFUSED = {"refused": "TypeError"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Shop:
    """A page of one origin, and the gateway that it calls."""

    page: Page
    gateway: Gateway
    seen: list[str]
    """The subjects of requests that came to the service."""

    async def fetch(self, path: str, **init: Any) -> dict[str, Any]:
        """What the page gets to know of an answer."""
        answer: dict[str, Any] = await self.page.evaluate(FETCH, [self.gateway.url + path, init])
        return answer

    async def read(self, path: str, **init: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer that the page must be able to read."""
        answer = await self.fetch(path, **init)
        return answer["status"], json.loads(answer["body"])


@contextlib.asynccontextmanager
async def serve_blank() -> AsyncIterator[str]:
    """The origin of a site with an empty page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shops(
    browser: Browser, shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Shop, Shop]]:
    """A page that the gateway allows, and one that it does not."""
    seen: list[str] = []

    async def serve(msg: Msg) -> None:
        seen.append(msg.subject)
        assert msg._client is not None
        await msg._client.publish(msg.reply, json.dumps(dict(msg.headers or {})).encode())

    file = Path(tmp_path_factory.mktemp("cors")) / "routes.yaml"
    async with serve_blank() as allowed, serve_blank() as other:
        file.write_text(FILE.format(origin=allowed))
        async with (
            responder(shared_nats.url, "shop.>", serve),
            run_gateway(shared_nats.url, routes=load_route_file(file)) as gateway,
            open_page(browser, allowed) as page,
            open_page(browser, other) as other_page,
        ):
            yield Shop(page, gateway, seen), Shop(other_page, gateway, seen)


@contextlib.asynccontextmanager
async def open_page(browser: Browser, origin: str) -> AsyncIterator[Page]:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(origin)
    yield page
    await context.close()


async def test_a_page_of_an_origin_that_is_listed_calls_and_reads(shops: tuple[Shop, Shop]) -> None:
    shop, _ = shops
    answer = await shop.fetch("/items/1")
    assert answer["status"] == 200
    assert "x-request-id" in answer["headers"]
    status, told = await shop.read("/items/1", headers={"X-Tenant": "acme", "X-Request-Timeout": "1s"})  # a preflight
    assert (status, told["X-Tenant"]) == (200, "acme")
    assert (await shop.fetch("/items/1", method="PUT", body="{}", headers=JSON))["status"] == 200


async def test_it_reads_why_a_request_failed(shops: tuple[Shop, Shop]) -> None:
    shop, _ = shops
    for path, init, status in (
        ("/items/a.b", {}, 422),
        ("/nobody", {}, 503),
        ("/nowhere", {}, 404),
        ("/nowhere", {"method": "PATCH", "body": "{}", "headers": {**JSON, "X-Any": "1"}}, 404),
        ("/nobody", {"method": "POST", "body": "x"}, 405),
        ("/items/1", {"method": "PUT", "body": "x", "headers": {"content-type": "text/plain"}}, 415),
        ("/problems/nothing", {}, 404),
    ):
        got, problem = await shop.read(path, **init)
        assert (got, problem["status"]) == (status, status)
    assert (await shop.read("/readyz"))[0] == 200
    assert (await shop.read("/openapi.json"))[1]["openapi"].startswith("3.1")


async def test_the_browser_keeps_back_what_no_route_of_the_path_takes(shops: tuple[Shop, Shop]) -> None:
    shop, _ = shops
    shop.seen.clear()
    assert await shop.fetch("/items/1", method="DELETE") == REFUSED
    assert await shop.fetch("/items/1", headers={"X-Unknown": "1"}) == REFUSED
    assert await shop.fetch("/closed", method="POST", body="{}", headers=JSON) == REFUSED
    assert shop.seen == []


async def test_a_page_of_another_origin_reads_nothing_and_sends_no_preflighted_request(
    shops: tuple[Shop, Shop],
) -> None:
    _, shop = shops
    shop.seen.clear()
    for path in ("/items/1", "/nobody", "/nowhere", "/readyz", "/openapi.json"):
        assert await shop.fetch(path) == REFUSED
    assert shop.seen == ["shop.read.1"]  # CORS keeps the answer from the page, and not the request
    assert await shop.fetch("/items/1", method="PUT", body="{}", headers=JSON) == REFUSED
    assert shop.seen == ["shop.read.1"]
    assert (await shop.fetch("/open"))["status"] == 200


async def test_credentials_travel_from_an_origin_that_may_and_never_with_a_star(shops: tuple[Shop, Shop]) -> None:
    allowed, other = shops
    for shop in shops:
        await shop.page.evaluate("document.cookie = 'session=s3cret'")
    assert (await allowed.read("/items/1", credentials="include"))[1]["cookie"] == "session=s3cret"
    assert "cookie" not in (await allowed.read("/items/1", credentials="omit"))[1]
    for shop in (allowed, other):
        assert await shop.fetch("/open", credentials="include") == REFUSED
    assert await other.fetch("/items/1", credentials="include") == REFUSED


async def test_a_sandboxed_frame_has_the_origin_null_and_reads_what_all_may(shops: tuple[Shop, Shop]) -> None:
    shop, _ = shops
    script = f"""url => new Promise(done => {{
        addEventListener("message", event => done(event.data), {{once: true}})
        const frame = document.createElement("iframe")
        frame.sandbox = "allow-scripts"
        frame.srcdoc = `<script>({FETCH})(["${{url}}", {{}}]).then(told => parent.postMessage(told, "*"))<\\/script>`
        document.body.append(frame)
    }})"""
    assert (await shop.page.evaluate(script, f"{shop.gateway.url}/open"))["status"] == 200
    assert await shop.page.evaluate(script, f"{shop.gateway.url}/items/1") == REFUSED
