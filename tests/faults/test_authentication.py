"""The NATS server refuses the gateway, at the start or later. Callers and `/readyz` see it, and the gateway recovers
without a restart."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.credentials import Certificate, Operator, make_tls_config, write_certificate
from tests.faults.gateways import run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import Witness
from tests.harness import NatsServer, run_nats

USERS = "authorization {{ users: [{{ user: gateway, password: {} }}, {{ user: service, password: service }}] }}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server that does not let the gateway in at its start, until `mend` is called."""

    nats: NatsServer
    settings: Mapping[str, str]
    reason: str
    mend: Callable[[], None]
    healed: str = "no-responders (no)"
    """The kind of answers that callers get then."""


async def check_refusal(refusal: Refusal, folder: Path, witness: Witness, report: Report, fault: str) -> None:
    """`/readyz` says why, callers are told, and all is well soon after it is repaired."""
    url = refusal.nats.url
    async with (
        run_gateway_process(folder, url, settings=refusal.settings, wait=False) as gateway,
        gateway.load().running() as load,
    ):
        reason = await gateway.wait_for_reason(refusal.reason)
        assert reason == f"{url.rpartition('//')[2]}: {refusal.reason}"
        await asyncio.to_thread(refusal.mend)
        recovery = await load.wait_for_recovery(since=time.monotonic(), kind=refusal.healed)
        assert await gateway.find_reason() == ""
    assert "s3cret" not in gateway.process.log
    await load.check(witness)
    assert set(load.count()) == {"not-connected (no)", refusal.healed}
    report.add(fault, load, measured=f"the service was asked {recovery:.2f} s after the repair")


async def test_a_wrong_password_at_the_start(tmp_path: Path, report: Report) -> None:
    witness = Witness()
    with run_nats(tmp_path / "nats", USERS.format("another")) as nats:
        settings = {"NATS_USER": "gateway", "NATS_PASSWORD": "s3cret"}
        refusal = Refusal(
            nats, settings, "authorization violation", lambda: nats.reload(USERS.format("s3cret")), healed="200"
        )
        async with witness.answering(nats.url.replace("//", "//service:service@")):
            await check_refusal(refusal, tmp_path, witness, report, "a wrong password at the start")


def make_certificate(folder: Path) -> Certificate:
    ca = trustme.CA()
    return write_certificate(folder, ca, ca.issue_cert("127.0.0.1"))


async def test_a_wrong_authority_at_the_start(tmp_path: Path, report: Report) -> None:
    shown, right = make_certificate(tmp_path / "shown"), make_certificate(tmp_path / "right")
    reason = "the server's certificate is not trusted; see NATS_TLS_CA"
    with run_nats(tmp_path / "nats", make_tls_config(shown)) as nats:
        settings = {"NATS_TLS_CA": str(right.ca)}
        refusal = Refusal(nats, settings, reason, lambda: nats.reload(make_tls_config(right)))
        await check_refusal(refusal, tmp_path, Witness(), report, "a certificate that is not trusted, at the start")


async def test_a_jwt_that_has_expired_at_the_start(tmp_path: Path, report: Report) -> None:
    operator = Operator()
    creds = tmp_path / "gateway.creds"
    creds.write_text(operator.make_creds(int(time.time()) - 60))

    def mend() -> None:
        creds.write_text(operator.make_creds())

    with run_nats(tmp_path / "nats", operator.make_config()) as nats:
        refusal = Refusal(nats, {"NATS_CREDS": str(creds)}, "NATS_CREDS: the user's JWT has expired", mend)
        await check_refusal(refusal, tmp_path, Witness(), report, "a JWT that has expired, at the start")


async def test_a_jwt_that_expires_under_load(tmp_path: Path, report: Report) -> None:
    operator = Operator()
    creds = tmp_path / "gateway.creds"
    with run_nats(tmp_path / "nats", operator.make_config()) as nats:
        creds.write_text(operator.make_creds(int(time.time()) + 7))
        async with (
            run_gateway_process(tmp_path, nats.url, settings={"NATS_CREDS": str(creds)}) as gateway,
            gateway.load().running() as load,
        ):
            await gateway.wait_for_reason("expired")
            creds.write_text(operator.make_creds())
            recovery = await load.wait_for_recovery(since=time.monotonic(), kind="no-responders (no)")
    await load.check(Witness())
    assert set(load.count()) <= {"not-connected (no)", "no-responders (no)", "connection-lost (unknown)"}
    assert load.count()["not-connected (no)"]
    report.add(
        "a JWT that expires under load, with nobody to answer",
        load,
        measured=f"the service was asked {recovery:.2f} s after a new JWT was written",
    )
