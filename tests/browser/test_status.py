"""The status page of a real gateway with two workers, in a real Chromium: numbers, a lost NATS, and a route that nobody
answers. tests/browser/test_status_page.py has the page alone."""

import re
import time
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import open_window
from tests.harness import NO_TLS, NatsServer, replying, responder
from tests.process.programs import PROGRAM, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADDRESS = r'"address":"(http://[^"]+)"'
ROUTES = Path(__file__).with_name("status_routes.yaml")


def find_row(page: Page, name: str) -> Locator:
    return page.locator("#routes tr").filter(has=page.get_by_text(name, exact=True))


async def read_number(page: Page, selector: str) -> float:
    text = await page.locator(selector).inner_text()
    found = re.search(r"[\d,.]+", text)
    return float(found[0].replace(",", "")) if found else 0.0


async def ask(url: str, path: str, *, times: int) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=20) as client:
        for _ in range(times):
            await client.get(path)


async def test_numbers_move_and_trouble_is_seen(browser: Browser, tmp_path: Path, own_nats: NatsServer) -> None:
    command = [*PROGRAM, "serve", str(ROUTES), "--port", "0", "--workers", "2"]
    with run(command, tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        async with (
            responder(own_nats.url, "page.read.*", replying(b"yes")),
            open_window(browser, url) as visitor,
        ):
            page = visitor.page
            await visitor.open("/status", "#routes tr")
            await expect(page.locator("#headline")).to_have_text("All is well")
            while not await read_number(page, "#rate"):  # it is that of the last moments only
                await ask(url, "/read/1", times=10)
            await expect(find_row(page, "read").locator(".p95")).to_contain_text("ms")
            await ask(url, "/nobody", times=3)
            await expect(page.locator("#headline")).to_contain_text("nobody")
            await expect(find_row(page, "nobody")).to_contain_text("no-responders")
            await expect(page.locator("#failures tr")).to_have_count(3)
            await expect(page.locator("#failures a").first).to_have_attribute("href", "/problems/no-responders")

            own_nats.kill()
            killed = time.monotonic()
            await expect(page.locator("#headline")).to_contain_text("NATS has been away since")
            assert time.monotonic() - killed < 10, "two seconds, on a machine that is not busy"
            own_nats.start()
            await expect(page.locator("#headline")).not_to_contain_text("NATS has been away")
            await expect(page.locator("#reconnects")).to_have_text("2")
