"""An EventSource in a real Chromium: NATS and the gateway go away and come back, and no number is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.js.api import StreamConfig
from playwright.async_api import Browser, Page

from tests.faults.gateways import run_gateway_process
from tests.harness import PATIENCE, NatsServer, connect, reserve_port, run_nats

pytestmark = pytest.mark.asyncio(loop_scope="session")

WATCH = """path => {
    window.numbers = []
    window.gaps = []
    const source = new EventSource(path)
    source.onmessage = event => numbers.push([Number(event.lastEventId), Number(event.data)])
    source.addEventListener("gap", event => gaps.push(JSON.parse(event.data).cause))
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def write(url: str, numbers: range, subject: str) -> None:
    async with connect(url) as client:
        for number in numbers:
            await client.publish(subject, b"%d" % number)
        await client.flush()


async def write_until_seen(page: Page, nats: NatsServer, number: int) -> None:
    """Publish a number again and again: only a subscription that has been made gets it."""
    async with asyncio.timeout(PATIENCE):
        while not await page.evaluate("number => numbers.some(found => found[1] === number)", number):
            await write(nats.url, range(number, number + 1), "events.a")
            await asyncio.sleep(0.1)


async def wait_for_number(page: Page, number: int) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while not await page.evaluate("number => numbers.some(found => found[1] === number)", number):
            await asyncio.sleep(0.05)


async def test_an_event_source_goes_on_after_nats_and_the_gateway_were_away(page: Page, tmp_path: Path) -> None:
    with run_nats(tmp_path / "nats") as nats, reserve_port() as port:
        await make_stream(nats)
        options = ("--port", str(port))
        async with run_gateway_process(tmp_path, nats.url, options=options) as gateway:
            await page.goto(f"{gateway.url}/livez")
            await page.evaluate(WATCH, "/stored/a")
            await write(nats.url, range(10), "stored.a")
            await wait_for_number(page, 9)
            nats.kill()
            await asyncio.to_thread(nats.start)
            await write(nats.url, range(10, 20), "stored.a")
            await wait_for_number(page, 19)
        await write(nats.url, range(20, 30), "stored.a")
        async with run_gateway_process(tmp_path, nats.url, options=options):
            await wait_for_number(page, 29)
            await write(nats.url, range(30, 40), "stored.a")
            await wait_for_number(page, 39)
    assert await page.evaluate("numbers") == [[number + 1, number] for number in range(40)]


async def test_an_event_source_is_told_that_messages_may_be_missing(page: Page, tmp_path: Path) -> None:
    with run_nats(tmp_path / "nats") as nats:
        async with run_gateway_process(tmp_path, nats.url) as gateway:
            await page.goto(f"{gateway.url}/livez")
            await page.evaluate(WATCH, "/events/a")
            await write_until_seen(page, nats, 0)
            nats.kill()
            await page.wait_for_function("gaps.length === 1")
            await asyncio.to_thread(nats.start)
            await write_until_seen(page, nats, 1)
    assert await page.evaluate("gaps") == ["disconnect"]


async def make_stream(nats: NatsServer) -> None:
    async with connect(nats.url) as client:
        await client.jetstream().add_stream(StreamConfig(name="STORED", subjects=["stored.*"]))
