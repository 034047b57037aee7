"""Swagger UI's button "Authorize", and pages that ask who calls, in a real Chromium."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from app.edge.api_keys import digest_key
from app.edge.page_rules import PageRules
from app.routefile.load import load_route_file
from tests.browser.conftest import Visitor
from tests.harness import Gateway, NatsServer, replying, responder, run_gateway
from tests.issuer import ISSUER, make_jwks, sign

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "sues-key"
SCHEMES = {
    "partners": "{type: api-key, header: X-API-Key, file: keys.yaml}",
    "widgets": "{type: api-key, query: key, file: keys.yaml}",
    "shops": "{type: api-key, cookie: session, file: keys.yaml}",
    "users": f"{{type: jwt, issuer: '{ISSUER}', audience: orders, jwks_file: jwks.json}}",
    "tokens": f"{{type: jwt, issuer: '{ISSUER}', audience: orders, jwks_file: jwks.json, header: X-Token}}",
    "visits": f"{{type: jwt, issuer: '{ISSUER}', audience: orders, jwks_file: jwks.json, cookie: visit}}",
    "machines": "{type: client-certificate, description: A certificate of ours}",
}


def write_routes(folder: Path) -> Path:
    (folder / "keys.yaml").write_text(f"version: 1\nkeys: [{{name: sue, sha256: {digest_key(KEY.encode())}}}]\n")
    (folder / "jwks.json").write_text(json.dumps(make_jwks()))
    routes = "".join(
        f"  - {{name: {name}, method: GET, path: /by/{name}, subject: by.{name}, auth: {name}}}\n" for name in SCHEMES
    )
    schemes = "".join(f"  {name}: {rules}\n" for name, rules in SCHEMES.items())
    (folder / "routes.yaml").write_text(f"version: 1\nauth:\n{schemes}routes:\n{routes}")
    return folder / "routes.yaml"


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(window: Visitor, guarded: Gateway) -> AsyncIterator[Visitor]:
    await window.begin(guarded.url)
    yield window
    await window.check()
    await window.page.context.clear_cookies()
    await window.page.goto("about:blank")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def guarded(shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway whose pages ask for a key, in the query or in a cookie."""
    file = load_route_file(write_routes(tmp_path_factory.mktemp("authorize")))
    rules = PageRules(("widgets", "shops"))
    async with (
        responder(shared_nats.url, "by.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file, pages_auth=rules) as gateway,
    ):
        yield gateway


async def execute(page: Page, name: str, status: int) -> None:
    """Try an operation out; its answer has this status."""
    operation = page.locator(f"#operations-default-{name}")
    if not await operation.locator(".opblock-body").count():
        await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text(str(status))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "shops" else pytest.mark.soak)  # some seconds each
        for name in SCHEMES
        if name != "machines"
    ],
)
async def test_what_a_reader_gives_to_authorize_is_sent_until_it_is_taken_back(visitor: Visitor, name: str) -> None:
    credential = KEY if "api-key" in SCHEMES[name] else sign()
    page = visitor.page
    await visitor.open(f"/docs?key={KEY}", ".opblock")
    await execute(page, name, 401)
    await page.locator(".auth-wrapper .authorize").click()
    await expect(page.locator(".modal-ux")).to_contain_text("A certificate of ours")
    form = page.locator(".auth-container", has=page.get_by_text(name)).first
    await form.locator("input").fill(credential)
    await form.locator("button.authorize").click()
    await page.locator(".btn-done").first.click()
    await execute(page, name, 200)
    await page.locator(".auth-wrapper .authorize").click()
    await form.get_by_role("button", name="Logout").or_(form.get_by_text("Logout")).first.click()
    await page.locator(".btn-done").first.click()
    await execute(page, name, 401)
    assert visitor.take_refusals() == [(401, f"/by/{name}")] * 2


async def test_a_key_in_the_address_or_a_cookie_opens_each_page_with_all_that_it_loads(
    visitor: Visitor, guarded: Gateway
) -> None:
    pages = {"/docs": ".opblock", "/redoc": "h2", "/status": "#routes tr"}
    for path, ready in pages.items():
        await visitor.open(path, "h1")
        assert visitor.take_refusals() == [(401, path)]
        await visitor.open(f"{path}?key={KEY}", ready)
    await visitor.page.context.add_cookies([{"name": "session", "value": KEY, "url": guarded.url}])
    for path, ready in pages.items():
        await visitor.open(path, ready)
