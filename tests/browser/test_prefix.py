"""The pages behind a real nginx that offers the gateway under a path, and takes that path away."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.conftest import open_window
from tests.browser.test_pages import greet, read_answer, try_out
from tests.harness import NO_TLS, PATIENCE, Gateway, NatsServer, eventually, reserve_port, responder, run_gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

# /api is what the gateway is told by its setting; of /shop/v1 only nginx knows.
HREFS = "links => links.map(link => link.href)"
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /api/ {{ proxy_pass http://127.0.0.1:{gateway}/; }}
        location /shop/v1/ {{
            proxy_pass http://127.0.0.1:{gateway}/;
            proxy_set_header X-Forwarded-Prefix /shop/v1;
        }}
    }}
}}
"""


def find_nginx() -> str:
    if path := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        return path
    pytest.fail("these tests need nginx", pytrace=False)


@contextlib.contextmanager
def run_nginx(folder: Path, port: int, gateway: int) -> Iterator[subprocess.Popen[bytes]]:
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, gateway=gateway))
    command = [find_nginx(), "-p", str(folder), "-c", str(configuration), "-e", f"{folder}/log"]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    proxies = ("127.0.0.1",)
    async with run_gateway(shared_nats.url, root_path="/api", trusted_proxies=proxies) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def nginx(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a proxy before the gateway."""
    folder = tmp_path_factory.mktemp("nginx")
    with reserve_port() as port, run_nginx(folder, port, gateway.port) as process:
        await eventually(lambda: (folder / "pid").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("prefix", [pytest.param("/api", marks=pytest.mark.soak), "/shop/v1"])
async def test_every_page_and_link_works_behind_a_prefix(
    browser: Browser, nginx: str, shared_nats: NatsServer, prefix: str
) -> None:
    """The window complains of each request that leaves the prefix, and of each that fails."""
    url = nginx + prefix
    async with open_window(browser, url, dark=True) as visitor, responder(shared_nats.url, "greet.*", greet):
        page = visitor.page
        await visitor.open("/", "#routes tr")
        assert page.url == f"{url}/status"
        await page.get_by_role("link", name="API documentation").click()
        await page.locator(".opblock-summary-control").click()
        await try_out(page, "sue")
        assert await read_answer(page, 200, f"{url}/greet/sue", "sue") == {"message": "hello, sue"}
        told = page.get_by_role("link", name="the list of problems")  # they would open another window
        await expect(told).to_have_count(4)  # in the description, and at the problems of the operation
        assert await told.evaluate_all(HREFS) == [f"{url}/problems"] * 4
        await page.get_by_role("link", name="All problems").click()
        await page.get_by_role("link", name="No responders").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("No responders")
        await page.get_by_role("link", name="API reference").click()
        await expect(page.get_by_role("heading", name="Greet somebody")).to_be_visible()
        assert set(await told.evaluate_all(HREFS)) == {f"{url}/problems"}
        await page.goto(f"{url}/greet/a.b")
        await page.get_by_role("link", name="What this means").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Invalid parameter")
        assert visitor.take_refusals() == [(422, f"{prefix}/greet/a.b")]


@pytest.mark.parametrize("prefix", ["/api", "/shop/v1"])
async def test_problems_and_redirects_lead_to_pages_that_the_proxy_knows(nginx: str, prefix: str) -> None:
    async with httpx.AsyncClient(
        base_url=nginx, trust_env=False, verify=NO_TLS, follow_redirects=True, timeout=PATIENCE
    ) as client:
        for path in ("/nothing", "/greet/a.b", "/greet/sue", "/docs/assets/nothing"):
            problem = (await client.get(prefix + path)).json()
            assert problem["instance"] == prefix + path
            explained = await client.get(problem["type"])
            assert (explained.status_code, explained.json()["title"]) == (200, problem["title"])
        for path in ("/", "/docs/", "/redoc/", "/problems/", "/favicon.ico"):
            answer = await client.get(prefix + path)
            assert (answer.status_code, len(answer.history)) == (200, 1), path
        assert (await client.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": prefix}]
