"""What a service says about itself runs in no browser: every text of it is markup with scripts, on every page."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import NARROW
from tests.harness import PATIENCE, NatsServer, responder
from tests.process.programs import PROGRAM, run
from tests.process.test_reload import ADDRESS, wait_for_status

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = "window.hit=1"
LINE = (
    f"</title></script><script>{SCRIPT}</script><img src=x onerror={SCRIPT}><svg onload={SCRIPT}></svg>"
    f"&lt;script&gt;{SCRIPT}&lt;/script&gt;&#60;img src=x onerror={SCRIPT}&#62;"
    f" [a link](javascript:{SCRIPT}) <javascript:{SCRIPT}> [a link](&#106;avascript:{SCRIPT}) ![x](javascript:{SCRIPT})"
    f" [a link](JaVaScRiPt&colon;{SCRIPT}) [a link](data:text/html,<script>parent.{SCRIPT}</script>)"
)
TEXT = f"""{LINE}

<iframe srcdoc="<script>parent.{SCRIPT}</script>"></iframe>
<form action=javascript:{SCRIPT}><button>a link</button></form>

[other link]

[other link]: javascript:{SCRIPT}

```html
{LINE}
```
"""
WORD = "W" * 1900  # characters without a place to break the line
ACTIVE = (
    "[onerror], [onload], [srcdoc], iframe, object, embed, form[action], base, meta[http-equiv], "
    "a[href^='javascript:' i], a[href^='data:' i], img[src^='javascript:' i], use[href^='data:' i]"
)
FIND_ACTIVE = """selector => [...document.querySelectorAll(selector)]
    .filter(one => !(one.matches("form") && !one.getAttribute("action").includes(":")))
    .map(one => one.outerHTML)"""


def describe(text: str) -> dict[str, Any]:
    """A schema with this text wherever a schema may have one."""
    inner = {"title": LINE, "description": text, "type": "string", "x-note": text, "$comment": text}
    return {
        "title": LINE,
        "description": text,
        "type": "object",
        "x-note": {LINE: text},
        "properties": {
            LINE: inner,
            "list": {"type": "array", "items": {**inner, "enum": [LINE], "default": LINE, "examples": [LINE]}},
            "one": {"const": LINE, "example": LINE},
            "many": {"oneOf": [inner, {"title": LINE, "pattern": "<script>window.hit=1</script>"}]},
        },
        "examples": [{LINE: LINE}],
        "externalDocs": {"url": f"javascript:{SCRIPT}", "description": text},
    }


def make_endpoints(text: str) -> list[dict[str, Any]]:
    route = {
        "path": "/hostile/{id}",
        "summary": LINE,
        "description": text,
        "params": {
            "id": {"description": text},
            "more": {"in": "query", "header": "X-More", "required": False, "description": text, "enum": [LINE[:100]]},
        },
        "body_schema": describe(text),
        "reply": {
            "schema": describe(text),
            "example": LINE,
            "headers": ["X-A"],
            "statuses": {"201": {"description": text, "schema": describe(text), "headers": {"X-A": text}}},
        },
    }
    plain = {"description": text, "request_schema": json.dumps(describe(text)), "format": "text/html"}
    return [
        {"name": LINE[:100], "subject": "hostile.*", "metadata": {"http.route": json.dumps(route)}},
        {"name": "plain", "subject": "plain", "metadata": plain},
        {"name": "right", "subject": "right.*", "metadata": {"http.path": "/right/{id}", "http.method": "GET"}},
        {"name": "wrong", "subject": "wrong", "metadata": {"http.path": f"/{LINE[:200]}"}},
        {"name": "wrong2", "subject": LINE[:100].replace(" ", ""), "metadata": {f"http.{LINE[:50]}": LINE}},
        {"name": "wrong3", "subject": "wrong3", "metadata": {"http.method": LINE[:300], "http.timeout": LINE}},
        {"name": "wrong4", "subject": "wrong4", "metadata": {"request_schema": json.dumps({"type": LINE})}},
        {"name": "wrong5", "subject": "wrong5", "metadata": {"http.auth": LINE}},
    ]


def make_lies(text: str) -> dict[str, bytes]:
    """The answers of a stranger, by the last token of their type."""
    about = {"name": "orders", "id": "LIAR&lt;", "version": f"1.0.0-{LINE[:100]}"}
    stats = [{"name": LINE[:100], "subject": LINE[:200], "num_requests": 7, "data": LINE, "last_error": LINE}]
    parts: dict[str, dict[str, Any]] = {
        "ping": {"metadata": {LINE: text}},
        "info": {"description": text, "metadata": {LINE: text}, "endpoints": make_endpoints(text)},
        "stats": {"started": LINE, "endpoints": stats},
    }
    return {
        kind: json.dumps({"type": f"io.nats.micro.v1.{kind}_response", **about, **part}).encode()
        for kind, part in parts.items()
    }


@contextlib.asynccontextmanager
async def lying(nats: NatsServer, tmp_path: Path, text: str) -> AsyncIterator[str]:
    """A gateway that has taken the routes of a service that says this text everywhere: its address."""
    lies = make_lies(text)

    async def lie(message: Msg) -> None:
        await message.respond(lies[message.subject.split(".")[1].lower()])

    command = [*PROGRAM, "serve", "--port", "0"]
    more = {"GATEWAY_DISCOVER": "orders", "GATEWAY_SERVICES": "on"}
    async with responder(nats.url, "$SRV.>", lie):
        with run(command, tmp_path / "log", NATS_URL=nats.url, **more) as gateway:
            url = gateway.find(ADDRESS)
            await wait_for_status(url, "/right/7", 503)  # it has a route, and nobody answers it
            yield url
            assert gateway.stop() == 0


async def open_docs(page: Page) -> None:
    await expect(page.locator(".opblock")).to_have_count(3)
    for control in await page.locator(".opblock-summary-control").all():
        await control.click()
    await expect(page.locator(".opblock-body .responses-wrapper").nth(2)).to_be_visible()
    for tab in await page.locator(".tablinks", has_text="Schema").all():
        await tab.click()
    for closed in await page.locator(".json-schema-2020-12-accordion[aria-expanded=false]").all():
        if await closed.is_visible():
            await closed.click()


async def open_redoc(page: Page) -> None:
    await page.locator("h2").nth(2).wait_for()


async def open_status(page: Page) -> None:
    await expect(page.locator("#services-unused li")).not_to_have_count(0)
    await expect(page.locator("#services tr")).not_to_have_count(0)


async def open_json(page: Page) -> None:
    await expect(page.locator("body")).to_contain_text("window.hit")


PAGES: dict[str, Callable[[Page], Any]] = {
    "/docs": open_docs,
    "/redoc": open_redoc,
    "/status": open_status,
    "/services": open_json,
    "/openapi.json": open_json,
    "/openapi.json?service=orders": open_json,
}


async def read_trouble(page: Page, url: str, path: str) -> list[str]:
    """All that has happened on a page though it should not."""
    seen: list[str] = []
    here = (url, f"blob:{url}", "data:image/")
    page.on("dialog", lambda dialog: seen.append(f"dialog {dialog.message}"))
    page.on("popup", lambda popup: seen.append(f"popup {popup.url}"))
    page.on("request", lambda request: seen.append(request.url) if not request.url.startswith(here) else None)
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    await page.goto(url + path)
    await PAGES[path](page)
    found = [*seen, *await page.evaluate(FIND_ACTIVE, ACTIVE)]
    await page.get_by_text("link").evaluate_all("links => links.forEach(link => link.click?.())")
    if await page.evaluate("window.hit ?? null") is not None:
        seen.append("a script of a service has run")
    return list(dict.fromkeys([*found, *seen]))


async def test_no_text_of_a_service_runs_as_a_script(browser: Browser, own_nats: NatsServer, tmp_path: Path) -> None:
    async with lying(own_nats, tmp_path, TEXT) as url:
        for path in PAGES:
            page = await browser.new_page()
            page.set_default_timeout(PATIENCE * 1000)
            try:
                assert await read_trouble(page, url, path) == [], path
            finally:
                await page.context.close()


@pytest.mark.soak
async def test_a_word_without_an_end_widens_no_page(browser: Browser, own_nats: NatsServer, tmp_path: Path) -> None:
    async with lying(own_nats, tmp_path, WORD) as url:
        for path in ("/docs", "/redoc", "/status"):
            page = await browser.new_page(viewport={"width": NARROW, "height": 900})
            page.set_default_timeout(PATIENCE * 1000)
            try:
                await page.goto(url + path)
                await PAGES[path](page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW, path
            finally:
                await page.context.close()


@pytest.mark.soak
async def test_a_script_that_ran_would_be_noticed(browser: Browser, own_nats: NatsServer, tmp_path: Path) -> None:
    async with lying(own_nats, tmp_path, TEXT) as url:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("load", lambda loaded: loaded.evaluate("document.body.innerHTML += '<img src=x onerror=window.hit=1>'"))
        try:
            assert any("Content Security Policy" in text for text in await read_trouble(page, url, "/status"))
        finally:
            await page.context.close()
