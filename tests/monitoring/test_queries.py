"""Every query of the dashboard and of the alerts has data, once all has happened to the gateway that is scraped."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.harness import PATIENCE, NatsServer, replying, responder
from tests.monitoring.load import keep_sending, run_fast_service
from tests.monitoring.prometheus import Prometheus, promtool, run_prometheus
from tests.monitoring.queries import fill_in, list_alerts, list_annotation_queries, list_panel_queries, remove_limits
from tests.monitoring.scraping import scrape

MOST_CONNECTIONS = 24  # wrk has 8
SERVICE_ERROR = {"Nats-Service-Error-Code": "500", "Nats-Service-Error": "on purpose"}
BUGGY = """
async def bug(request):
    raise RuntimeError("on purpose")

def extend(app):
    app.add_route("/bug", bug)
"""


async def test_every_query_has_an_answer(tmp_path: Path, own_nats: NatsServer) -> None:
    async with run_gateway_with_a_past(tmp_path, own_nats) as (gateway, prometheus):
        assert promtool("check", "metrics", text=(await scrape(gateway.url)).text) == ""
        silent = {query for query in list_panel_queries() if not await wait_for_data(prometheus, fill_in(query))}
        assert silent == set()
        for query in list_annotation_queries():
            assert await wait_for_data(prometheus, remove_limits(fill_in(query)))
        for name, query in list_alerts().items():
            await prometheus.query(query)
            assert await wait_for_data(prometheus, remove_limits(query).replace("absent(", "(")), name


async def wait_for_data(prometheus: Prometheus, query: str) -> bool:
    """Whether data come in time. Most do at once, a rate after the next scrape."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not await prometheus.query(query):
                await asyncio.sleep(0.2)
            return True
    return False


@contextlib.asynccontextmanager
async def run_gateway_with_a_past(folder: Path, nats: NatsServer) -> AsyncIterator[tuple[GatewayProcess, Prometheus]]:
    """Under load when it is entered. It has lost NATS, read its routes again, met a bug and refused connections."""
    (folder / "buggy.py").write_text(BUGGY)
    settings = {"GATEWAY_MAX_CONNECTIONS": str(MOST_CONNECTIONS), "PYTHONPATH": str(folder)}
    async with (
        run_gateway_process(folder, nats.url, settings=settings, options=("--extend", "buggy:extend")) as gateway,
        run_prometheus(folder / "prometheus", f"127.0.0.1:{gateway.port}") as prometheus,
    ):
        nats.kill()
        await gateway.wait_for_reason("")
        nats.start()
        await gateway.wait_until_ready()
        gateway.process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(gateway.process.find, "(routes-loaded)")
        assert (await gateway.get("/bug")).status_code == 500
        async with responder(nats.url, "odd.*.*", replying(b"", SERVICE_ERROR)):
            assert (await gateway.get("/odd/error/a")).status_code == 500
        await refuse_connections(gateway)
        async with run_fast_service(nats.url, folder), keep_sending(gateway.url):
            yield gateway, prometheus


def begin_request(port: int) -> socket.socket:
    """A connection with the beginning of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=1.0)
    connection.sendall(b"GET /livez HTTP/1.1\r\n")
    return connection


def is_refused(connection: socket.socket) -> bool:
    """Whether an answer comes soon, and says that there are too many connections."""
    try:
        return b" 503 " in connection.recv(100)
    except TimeoutError:
        return False


async def refuse_connections(gateway: GatewayProcess) -> None:
    """Until one is refused, because all others have begun a request. One whose request the gateway has not read yet is
    idle, and makes room: then the next is tried."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                stack.enter_context(begin_request(gateway.port))
            while not await asyncio.to_thread(is_refused, stack.enter_context(begin_request(gateway.port))):
                pass
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await gateway.get("/livez")).status_code == 200:
                    return
