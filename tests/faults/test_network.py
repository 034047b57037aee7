"""What lies between the gateway and NATS loses, delays, cuts or falsifies bytes, under load."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults import proxy
from tests.faults.gateways import run_gateway_process
from tests.faults.proxy import Forward, Proxy, replace
from tests.faults.report import Report
from tests.faults.truth import Witness
from tests.harness import NatsServer

LOST = {"connection-lost (unknown)", "not-connected (no)"}

FAULTS: dict[str, tuple[Forward, float, set[str]]] = {
    "nothing arrives": (proxy.drop, 6.0, {"timeout (unknown)", *LOST}),
    "each read is 50 to 200 ms late": (proxy.delay, 2.0, {"timeout (unknown)"}),
    "a byte at a time": (proxy.trickle, 2.0, {"timeout (unknown)"}),
    "cut within a reply": (proxy.cut_replies, 1.0, LOST),
    "cut within a request": (proxy.cut_requests, 1.0, LOST),
    "bytes that are no line": (replace(lambda _: b"\x00\xff garbage"), 1.0, LOST),
    "a line that is none": (replace(lambda _: b"XYZ\r\n"), 1.0, LOST),
    "an empty line": (replace(lambda _: b"\r\n"), 1.0, LOST),
    "a size that is no number": (replace(lambda m: b"MSG %b %b -1\r\n" % m.group(1, 2)), 1.0, LOST),
    "a size that is too small": (replace(lambda m: b"MSG %b %b 1\r\n" % m.group(1, 2)), 1.0, LOST),
    "a size that is too large": (
        replace(lambda m: b"MSG %b %b 5000\r\n" % m.group(1, 2)),
        1.0,
        {"timeout (unknown)", *LOST},
    ),
    "a size of a gigabyte": (replace(lambda m: b"MSG %b %b 999999999\r\n" % m.group(1, 2)), 1.0, LOST),
    "another subject": (replace(lambda m: b"MSG other.%b %b %b\r\n" % m.groups()), 1.0, {"timeout (unknown)"}),
    "a control line without an end": (replace(lambda _: b"MSG " + b"x" * 10_000), 1.0, LOST),
    "an error that is none": (replace(lambda _: b"-ERR 'Made Up'\r\n"), 1.0, LOST),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_between_the_gateway_and_nats(
    tmp_path: Path, own_nats: NatsServer, name: str, report: Report
) -> None:
    forward, duration, expected = FAULTS[name]
    witness = Witness(delay=0.01)
    async with (
        Proxy(int(own_nats.url.rpartition(":")[2])).serving() as between,
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, between.url) as gateway,
        gateway.load(timeout=0.6).running() as load,
    ):
        between.forward = forward
        await asyncio.sleep(duration)
        between.forward = proxy.forward
        recovery = await load.wait_for_recovery(since=time.monotonic())
    await load.check(witness)
    assert set(load.count()) - {"200"} <= expected
    report.add(name, load, measured=f"success again {recovery:.2f} s after it was mended")
