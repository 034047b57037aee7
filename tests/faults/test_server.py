"""The NATS server dies, freezes or is reconfigured. All of it under load."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.http.lane import LaneName
from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.faults.report import Report, describe_seconds
from tests.faults.truth import CALLERS, Load, Witness
from tests.harness import NatsServer, run_nats
from tests.pace import SLOWNESS

UNSENT = {"request-timeout (no)", "timeout (no)"} if SLOWNESS >= 2 else set()
"""Where the gateway may not have read a body, or not sent it, by its deadline."""
LOST = {"connection-lost (unknown)", "not-connected (no)", "no-responders (no)"}


def kinds(load: Load) -> set[str]:
    return set(load.count()) - {"200"}


async def test_ten_kills_and_restarts(tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report) -> None:
    witness = Witness(delay=0.02)
    recoveries = []
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
        gateway.load(timeout=0.5).running() as load,
    ):
        for _ in range(10):
            await asyncio.sleep(0.3)
            own_nats.kill()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_nats.start)
            recoveries.append(await load.wait_for_recovery(since=time.monotonic()))
    await load.check(witness)
    assert kinds(load) <= LOST
    assert load.count()["connection-lost (unknown)"] >= 10
    measured = f"success again {describe_seconds(recoveries)} after the restart"
    report.add(f"nats-server killed and started again, ten times ({lane} lane)", load, measured=measured)


async def test_a_freeze_for_longer_than_the_deadline(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    """Requests wait in the server's socket, and run when it goes on: their callers have long been told of a timeout."""
    witness = Witness()
    recoveries = []
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
        gateway.load(timeout=0.4).running() as load,
    ):
        for _ in range(3):
            own_nats.freeze()
            await asyncio.sleep(1)
            own_nats.thaw()
            recoveries.append(await load.wait_for_recovery(since=time.monotonic()))
    await load.check(witness)
    assert kinds(load) == {"timeout (unknown)"}
    late = [answer for answer in load.failures if witness.ran[answer.id]]
    assert late, "none of them ran: this test has not tested what it says"
    measured = f"{len(late)} ran when the server continued; success again {describe_seconds(recoveries)} after that"
    report.add(f"nats-server frozen for 1 s, three times, deadlines of 0.4 s ({lane} lane)", load, measured=measured)


@pytest.mark.parametrize("outage", [1.0, 7.0])
async def test_a_freeze_with_the_socket_full(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, outage: float, report: Report
) -> None:
    """Bodies of 64 KiB pile up. A long freeze ends the connection; what had not left the gateway never runs."""
    witness = Witness()
    async with (
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
        gateway.load(path="/load/{id}", body=b"x" * 65536, timeout=0.1).running() as load,
    ):
        own_nats.freeze()
        await asyncio.sleep(outage)
        own_nats.thaw()
        recovery = await load.wait_for_recovery(since=time.monotonic())
    await load.check(witness)
    assert kinds(load) <= {"timeout (unknown)", "overloaded (no)", *LOST, *UNSENT}
    assert load.count()["overloaded (no)"]
    fault = f"nats-server frozen for {outage:g} s, bodies of 64 KiB, deadlines of 0.1 s ({lane} lane)"
    report.add(fault, load, measured=f"success again {recovery:.2f} s after the server continued")


# Reconfiguration

USERS = """
authorization {{ users: [
  {{ user: {gateway}, password: s3cret, permissions: {{ publish: {{ deny: "{denied}" }} }} }}
  {{ user: service, password: service }}
] }}
{more}
"""


def configure(*, gateway: str = "gateway", denied: str = "nothing", more: str = "") -> str:
    return USERS.format(gateway=gateway, denied=denied, more=more)


@dataclass(frozen=True, slots=True)
class Scene:
    nats: NatsServer
    gateway: GatewayProcess
    load: Load
    witness: Witness

    async def reload(self, config: str) -> float:
        """The instant at which the server was told; returns a second later."""
        began = time.monotonic()
        await asyncio.to_thread(self.nats.reload, config)
        await asyncio.sleep(1)
        return began


@contextlib.asynccontextmanager
async def run_scene(folder: Path, report: Report, fault: str, **options: object) -> AsyncIterator[Scene]:
    """A gateway and a service, each with a user of its own, under load; the server is as it was when it is left."""
    witness = Witness(delay=0.02)
    with run_nats(folder / "nats", configure()) as nats:
        url = nats.url.replace("//", "//{}@")
        async with (
            witness.answering(url.format("service:service")),
            run_gateway_process(folder, url.format("gateway:s3cret")) as gateway,
        ):
            async with gateway.load(timeout=0.5, **options).running() as load:
                yield Scene(nats, gateway, load, witness)
                await asyncio.to_thread(nats.reload, configure())
                repaired = time.monotonic()
                recovery = await load.wait_for_recovery(since=repaired)
            await load.check(witness)
            report.add(fault, load, measured=f"success again {recovery:.2f} s after the repair")
            assert "s3cret" not in gateway.process.log


async def test_a_lowered_max_payload_costs_the_requests_of_one_connection(tmp_path: Path, report: Report) -> None:
    """nats-server tells its clients nothing of it: the first body over the new limit ends the connection."""
    fault = "max_payload lowered by a reload, then raised"
    async with run_scene(tmp_path, report, fault, path="/load/{id}", body=b"x" * 5000) as scene:
        reloaded = await scene.reload(configure(more="max_payload: 4000"))
    assert kinds(scene.load) == {"connection-lost (unknown)", "not-connected (no)", "payload-too-large (no)"}
    lost = [answer for answer in scene.load.failures if answer.slug == "connection-lost"]
    assert len(lost) <= CALLERS
    assert scene.load.first(lambda answer: answer.slug == "payload-too-large", since=reloaded) < 1


async def test_credentials_that_are_revoked_and_given_back(tmp_path: Path, report: Report) -> None:
    async with run_scene(tmp_path, report, "the gateway's user revoked by a reload, then given back") as scene:
        await scene.reload(configure(gateway="other"))
        reason = await scene.gateway.wait_for_reason("authorization violation")
    assert reason == f"{scene.nats.url.removeprefix('nats://')}: authorization violation"
    assert kinds(scene.load) == {"connection-lost (unknown)", "not-connected (no)"}


async def test_a_publish_permission_that_is_removed_and_given_back(tmp_path: Path, report: Report) -> None:
    async with run_scene(tmp_path, report, "a publish permission removed by a reload, then given back") as scene:
        await scene.reload(configure(denied="jobs.>"))
        assert await scene.gateway.find_reason() == ""
    assert kinds(scene.load) == {"permission-denied (no)"}


async def test_a_server_that_is_full(tmp_path: Path, report: Report) -> None:
    """It lets the witness go, or the gateway; either comes back when it may."""
    async with run_scene(tmp_path, report, "`max_connections` lowered to 1 by a reload, then raised") as scene:
        await scene.reload(configure(more="max_connections: 1"))
        reason = (await scene.gateway.find_reason()).partition(": ")[2]
    assert kinds(scene.load) <= {*LOST, "timeout (unknown)"}
    assert kinds(scene.load)
    # It closes right behind its words, and a reset can overtake them.
    assert reason in (
        "",
        "maximum connections exceeded",
        "the connection was reset",
        "the server closed the connection",
    )
