"""A real Chromium that can reach nothing but this machine, and windows in it that remember all that goes wrong."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    Route,
    async_playwright,
    expect,
)

from tests.harness import PATIENCE, Gateway, NatsServer, run_gateway

WIDE, NARROW, HEIGHT = 1280, 400, 900  # pixels

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-site-isolation-trials",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_STATUS_NOTE = "Failed to load resource: the server responded with a status of "
_REPORT_POLICY = """addEventListener("securitypolicyviolation", event =>
    console.error("content security policy:", event.violatedDirective, event.blockedURI))"""

_WAIT_UNTIL_IDLE = "new Promise(done => requestIdleCallback(() => setTimeout(done, 100), {timeout: 5000}))"


class Visitor:
    """A window on one gateway. `outside` has every address elsewhere that a page so much as asked for, `complaints`
    what the browser found wrong, `requested` the paths that were asked of the gateway, `refused` those it answered
    with an error, as (status, path)."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._refused: list[tuple[int, str]] = []

    async def begin(self, url: str, *, width: int = WIDE) -> None:
        """For another test, of this gateway, as if it were a fresh window. What is stored and cached stays."""
        self.url = url
        self.forgive()
        self.requested.clear()
        self.take_refusals()
        await self.page.set_viewport_size({"width": width, "height": HEIGHT})
        await self.page.emulate_media(color_scheme="light")

    async def check(self) -> None:
        """Whatever the window is for, nothing elsewhere may be asked for and nothing may go wrong."""
        await self.settle()
        assert self.outside == []
        assert self.complaints == []
        assert self.take_refusals() == []

    async def open(self, path: str, ready: str) -> None:
        """Waits until what `ready` selects stands on the page: scripts write some of them."""
        await self.page.goto(self.url + path)
        await self.page.locator(ready).first.wait_for()

    async def settle(self) -> None:
        """Until the page has nothing left to do, so that its last requests and complaints are known too."""
        await self.page.evaluate(_WAIT_UNTIL_IDLE)

    def forgive(self) -> None:
        """Forgets all that went wrong so far."""
        self.outside.clear()
        self.complaints.clear()

    def take_refusals(self) -> list[tuple[int, str]]:
        """The status and path of every answer that was an error, each told once."""
        refused, self._refused = self._refused, []
        return refused

    async def watch(self, context: BrowserContext) -> None:
        # Requests that the browser stops by itself, for a policy, never come to a route; the event tells of all.
        context.on("request", lambda request: self._note_request(request.url))
        context.on("requestfailed", lambda request: self._note_failure(request.url, request.failure or ""))
        context.on("response", self._note_response)
        context.on("console", self._note_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page.on("websocket", lambda socket: self._note_request(socket.url))
        await context.add_init_script(_REPORT_POLICY)
        await context.route("**/*", self._pass_or_abort)

    def _note_failure(self, url: str, reason: str) -> None:
        # A browser loads the icon after all else, and events never end: it lets go of both when the visitor goes on.
        if not (url.partition("?")[0].endswith(("/favicon.svg", "/status/events")) and "ERR_ABORTED" in reason):
            self.complaints.append(f"{url}: {reason}")

    def _is_here(self, url: str) -> bool:
        return url.startswith((self.url + "/", f"blob:{self.url}/", "data:"))

    def _note_request(self, url: str) -> None:
        if not self._is_here(url):
            self.outside.append(url)
        elif url.startswith(self.url):
            self.requested.append(urlsplit(url).path)

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            self._refused.append((response.status, urlsplit(response.url).path))

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_STATUS_NOTE):
            self.complaints.append(message.text)

    async def _pass_or_abort(self, route: Route) -> None:
        await (route.continue_() if self._is_here(route.request.url) else route.abort())


def find_chromium() -> str:
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(f"the browser tests need Chromium, and none of {', '.join(_NAMES)} is on the PATH", pytrace=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        expect.set_options(timeout=PATIENCE * 1000)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    """A gateway with the packaged routes, in the event loop of the browser; nobody responds unless a test does."""
    async with run_gateway(shared_nats.url) as gateway:
        yield gateway


@asynccontextmanager
async def open_window(browser: Browser, url: str, *, width: int = WIDE, dark: bool = False) -> AsyncIterator[Visitor]:
    """A fresh window on a gateway, for what is stored in one; scripts take seconds to be compiled there."""
    context = await browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(PATIENCE * 1000)
    visitor = Visitor(await context.new_page(), url)
    await visitor.watch(context)
    try:
        yield visitor
        await visitor.check()
    finally:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def window(browser: Browser) -> AsyncIterator[Visitor]:
    """The one that tests share, one after the other."""
    async with open_window(browser, "about:blank") as visitor:
        yield visitor
        await visitor.begin("about:blank")


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(window: Visitor, gateway: Gateway, width: int) -> AsyncIterator[Visitor]:
    """The window, on the gateway."""
    await window.begin(gateway.url, width=width)
    yield window
    await window.check()
    await window.page.goto("about:blank")


@pytest.fixture
def width() -> int:
    """How many pixels the window is wide; a test may parametrize it."""
    return WIDE
