"""The server does not let the gateway in, at the start or from some moment on: callers and `/readyz` are told, and it
heals without a restart."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import trustme

from tests.credentials import Certificate, Operator, make_tls_config, write_certificate
from tests.faults.gateways import run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import Load, Witness
from tests.harness import NatsServer, run_nats

USERS = "authorization {{ users: [{{ user: gateway, password: {} }}, {{ user: service, password: service }}] }}"


async def run_refused(
    nats: NatsServer,
    folder: Path,
    settings: Mapping[str, str],
    *,
    reason: str,
    mend: Callable[[], None],
    healed: str = "no-responders (no)",
) -> tuple[Load, float]:
    """A load on a gateway that starts with this reason not to be ready, and how long after `mend` callers got answers
    of the kind `healed`."""
    async with (
        run_gateway_process(folder, nats.url, settings=settings, wait=False) as gateway,
        gateway.load().running() as load,
    ):
        assert await gateway.wait_for_reason(reason) == f"{nats.url.rpartition('//')[2]}: {reason}"
        mend()
        mended = time.monotonic()
        recovery = await load.wait_for_recovery(since=mended, kind=healed)
        assert await gateway.find_reason() == ""
    assert "s3cret" not in gateway.process.log
    assert set(load.count()) == {"not-connected (no)", healed}
    return load, recovery


async def test_a_wrong_password_at_the_start(tmp_path: Path, report: Report) -> None:
    witness = Witness()
    with run_nats(tmp_path / "nats", USERS.format("another")) as nats:
        async with witness.answering(nats.url.replace("//", "//service:service@")):
            load, recovery = await run_refused(
                nats,
                tmp_path,
                {"NATS_USER": "gateway", "NATS_PASSWORD": "s3cret"},
                reason="authorization violation",
                mend=lambda: nats.reload(USERS.format("s3cret")),
                healed="200",
            )
            await load.check(witness)
    report.add("a wrong password at the start", load, measured=f"success {recovery:.2f} s after it was mended")


def make_certificate(folder: Path) -> Certificate:
    ca = trustme.CA()
    return write_certificate(folder, ca, ca.issue_cert("127.0.0.1"))


async def test_a_wrong_authority_at_the_start(tmp_path: Path, report: Report) -> None:
    shown, right = make_certificate(tmp_path / "shown"), make_certificate(tmp_path / "right")

    def mend() -> None:
        nats.reload(make_tls_config(right))

    with run_nats(tmp_path / "nats", make_tls_config(shown)) as nats:
        load, recovery = await run_refused(
            nats,
            tmp_path,
            {"NATS_TLS_CA": str(right.ca)},
            reason="the server's certificate is not trusted; see NATS_TLS_CA",
            mend=mend,
        )
    await load.check(Witness())
    report.add(
        "a certificate of the server that is not trusted, at the start",
        load,
        measured=f"the service was asked {recovery:.2f} s after it was mended",
    )


async def test_a_jwt_that_has_expired_at_the_start(tmp_path: Path, report: Report) -> None:
    operator = Operator()
    creds = tmp_path / "gateway.creds"
    creds.write_text(operator.make_creds(int(time.time()) - 60))

    def mend() -> None:
        creds.write_text(operator.make_creds())

    with run_nats(tmp_path / "nats", operator.make_config()) as nats:
        load, recovery = await run_refused(
            nats,
            tmp_path,
            {"NATS_CREDS": str(creds)},
            reason="NATS_CREDS: the user's JWT has expired",
            mend=mend,
        )
    await load.check(Witness())
    report.add(
        "a JWT that has expired, at the start",
        load,
        measured=f"the service was asked {recovery:.2f} s after a new one was written",
    )


async def test_a_jwt_that_expires_under_load(tmp_path: Path, report: Report) -> None:
    operator = Operator()
    creds = tmp_path / "gateway.creds"
    creds.write_text(operator.make_creds(int(time.time()) + 4))
    with run_nats(tmp_path / "nats", operator.make_config()) as nats:
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
        measured=f"the service was asked {recovery:.2f} s after a new one was written",
    )
