"""Scrapes at the worst moments: each gets a whole answer or a clear error, and no counter ever goes back."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from app.http.lane import LaneName
from tests.faults.gateways import ROUTES, GatewayProcess, run_gateway_process
from tests.harness import PATIENCE, NatsServer, RawPeer, eventually
from tests.monitoring.load import keep_sending, run_fast_service
from tests.monitoring.prometheus import promtool
from tests.monitoring.scraping import OPENMETRICS, keep_scraping, read_counters, scrape
from tests.process.programs import find_children, is_alive

TIMES = 3
LANES: tuple[LaneName, ...] = ("fast", "asgi")


@pytest.mark.parametrize("lane", LANES)
async def test_both_formats_are_valid_and_say_the_same(tmp_path: Path, own_nats: NatsServer, lane: LaneName) -> None:
    async with run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway:
        async with run_fast_service(own_nats.url, tmp_path), keep_sending(gateway.url):
            async with asyncio.timeout(PATIENCE):
                while 'route="nobody"' not in (await scrape(gateway.url)).text:
                    pass
        plain, openmetrics = await scrape(gateway.url), await scrape(gateway.url, OPENMETRICS)
        assert plain.headers["content-type"].startswith("text/plain; version=")
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert promtool("check", "metrics", text=plain.text) == ""
        assert set(read_counters(plain)) <= set(read_counters(openmetrics))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_scrape_during_reloads(tmp_path: Path, own_nats: NatsServer, workers: int) -> None:
    settings = {"GATEWAY_WORKERS": str(workers)}
    async with (
        run_gateway_process(tmp_path, own_nats.url, settings=settings) as gateway,
        run_fast_service(own_nats.url, tmp_path),
        keep_sending(gateway.url),
        keep_scraping(gateway.url) as scrapes,
    ):
        for number in range(TIMES):
            more = f'  - {{name: more{number}, method: GET, path: "/more{number}", subject: more}}\n'
            (tmp_path / "routes.yaml").write_text(ROUTES + more)
            await scrapes.wait_for(2)
            gateway.process.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(gateway.process.find, rf'(?s)((?:"event":"routes-loaded".*?){{{number + 1}}})')
            await scrapes.wait_for(2)
        (tmp_path / "routes.yaml").write_text("nothing that it could be")
        gateway.process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(gateway.process.find, "(routes-refused)")
        await scrapes.wait_for(2)
        assert (scrapes.refused, scrapes.lost) == ([], [])


async def test_a_scrape_while_workers_die(tmp_path: Path, own_nats: NatsServer) -> None:
    async with (
        run_gateway_process(tmp_path, own_nats.url, settings={"GATEWAY_WORKERS": "2"}) as gateway,
        run_fast_service(own_nats.url, tmp_path),
        keep_sending(gateway.url),
        keep_scraping(gateway.url) as scrapes,
    ):
        for number in range(TIMES):
            gateway.process.wait_for_connections(2 + number)
            await scrapes.wait_for(3)
            killed = find_children(gateway.pid, "app.commands.worker")[number % 2]
            os.kill(killed, signal.SIGKILL)
            await eventually(partial(has_ended, killed))
            await scrapes.wait_for(3)
        assert set(scrapes.refused) <= {503}
        assert len(scrapes.lost) <= 2 * TIMES  # what was asked of a worker that died


async def test_a_scrape_during_a_drain(tmp_path: Path, own_nats: NatsServer) -> None:
    async with (
        run_gateway_process(tmp_path, own_nats.url) as gateway,
        RawPeer.connect(own_nats.url, "silent.*"),
        keep_scraping(gateway.url) as scrapes,
    ):
        waiting = asyncio.create_task(gateway.get("/silent/a"))
        await wait_for_a_request(gateway)
        await scrapes.wait_for(2)
        gateway.process.process.send_signal(signal.SIGTERM)
        assert (await waiting).status_code == 504
        assert await asyncio.to_thread(gateway.process.process.wait, PATIENCE) == 0
        assert set(scrapes.refused) <= {503}
        await eventually(lambda: scrapes.lost)  # nobody listens any more


def has_ended(pid: int) -> bool:
    return not is_alive(pid)


async def wait_for_a_request(gateway: GatewayProcess) -> None:
    async with asyncio.timeout(PATIENCE):
        while await gateway.count_in_flight() == 0:
            await asyncio.sleep(0.01)
