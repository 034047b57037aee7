"""One of two NATS clusters dies, freezes or comes back. All of it under load."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.http.lane import LaneName
from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report, describe_seconds
from tests.faults.truth import Load, Witness
from tests.harness import NatsServer, eventually, run_nats

ROUTES = """
version: 1
defaults: {reply: {content_type: text/plain}}
routes:
  - {name: jobs, method: GET, path: "/jobs/{id}", subject: "jobs.{id}"}
  - {name: factory, method: GET, path: "/factory/{id}", subject: "jobs.{id}", nats: factory}
"""
AWAY = "not-connected (no)"


@contextlib.asynccontextmanager
async def run_both(
    folder: Path, main: NatsServer, factory: NatsServer, lane: LaneName
) -> AsyncIterator[tuple[GatewayProcess, tuple[Load, Witness], tuple[Load, Witness]]]:
    """A gateway with two clusters, and for each of them a load and its witness."""
    routes = folder / "both.yaml"
    routes.write_text(ROUTES)
    settings = {"GATEWAY_NATS": "factory", "NATS_FACTORY_URL": factory.url, "GATEWAY_ROUTES": str(routes)}
    here, there = Witness(), Witness()
    async with (
        here.answering(main.url),
        there.answering(factory.url),
        run_gateway_process(folder, main.url, lane=lane, settings=settings) as gateway,
    ):
        ours, theirs = gateway.load(timeout=0.5), gateway.load(path="/factory/{id}", timeout=0.5)
        async with ours.running(), theirs.running():
            await theirs.wait_for_recovery(since=time.monotonic())
            yield gateway, (ours, here), (theirs, there)


async def test_a_cluster_that_dies_or_freezes_harms_only_its_routes(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    recoveries = []
    with run_nats(tmp_path / "factory") as factory:
        async with run_both(tmp_path, own_nats, factory, lane) as (_, (ours, here), (theirs, there)):
            began = time.monotonic()
            for harm, heal in ((factory.kill, factory.start), (factory.freeze, factory.thaw)):
                await asyncio.to_thread(harm)
                await theirs.wait_for_recovery(since=time.monotonic(), kind=AWAY)
                before = len(ours.answers)
                await eventually(lambda before=before: len(ours.answers) > before + 200)  # type: ignore[misc]
                await asyncio.to_thread(heal)
                recoveries.append(await theirs.wait_for_recovery(since=time.monotonic()))
            spoilt = [answer for answer in ours.answers if answer.began > began and answer.status != 200]
        await ours.check(here)
        await theirs.check(there)
        assert not spoilt
        assert theirs.count()[AWAY] > 0
        measured = f"no request to the other cluster failed; success again {describe_seconds(recoveries)} after it"
        report.add(f"one of two NATS clusters killed, then frozen ({lane} lane)", theirs, measured=measured)


async def test_the_cluster_of_nats_url_that_dies_harms_only_its_routes(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName
) -> None:
    with run_nats(tmp_path / "factory") as factory:
        async with run_both(tmp_path, own_nats, factory, lane) as (_, (ours, here), (theirs, there)):
            began = time.monotonic()
            own_nats.kill()
            await ours.wait_for_recovery(since=time.monotonic(), kind=AWAY)
            await asyncio.to_thread(own_nats.start)
            await ours.wait_for_recovery(since=time.monotonic())
            spoilt = [answer for answer in theirs.answers if answer.began > began and answer.status != 200]
        await ours.check(here)
        await theirs.check(there)
        assert not spoilt
