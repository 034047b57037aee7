"""The network between the gateway and NATS loses, delays, cuts or falsifies bytes. All of it under load."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import proxy
from tests.faults.gateways import run_gateway_process
from tests.faults.proxy import Forward, Proxy, replace
from tests.faults.report import Report
from tests.faults.truth import Witness
from tests.harness import NatsServer

TIMEOUT, LOST, REFUSED = "timeout (unknown)", "connection-lost (unknown)", "not-connected (no)"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, for how many seconds, and which kinds of failures callers must see, and which they may."""

    forward: Forward
    seconds: float = 1.0
    must: frozenset[str] = frozenset({LOST})
    may: frozenset[str] = frozenset({REFUSED})


def replace_line(line: bytes) -> Fault:
    """`%s` stands for the subject of the reply."""
    return Fault(replace(lambda match: line.replace(b"%s", match[1])))


FAULTS = {
    "nothing arrives": Fault(proxy.drop, 6.0, must=frozenset({TIMEOUT, LOST})),
    "each read is 50 to 200 ms late": Fault(proxy.delay, 2.0, must=frozenset(), may=frozenset({TIMEOUT})),
    "a byte at a time": Fault(proxy.trickle, 2.0, must=frozenset(), may=frozenset({TIMEOUT})),
    "cut within a reply": Fault(proxy.cut_replies),
    "cut within a request": Fault(proxy.cut_requests),
    "bytes that form no line": replace_line(b"\x00\xff garbage"),
    "an unknown protocol line": replace_line(b"XYZ\r\n"),
    "an empty line": replace_line(b"\r\n"),
    "a negative size": replace_line(b"MSG %s 1 -1\r\n"),
    "a size that is too small": replace_line(b"MSG %s 1 1\r\n"),
    "a size that is too large": Fault(replace_line(b"MSG %s 1 5000\r\n").forward, may=frozenset({REFUSED, TIMEOUT})),
    "a size of a gigabyte": replace_line(b"MSG %s 1 999999999\r\n"),
    "another subject": Fault(
        replace(lambda match: b"MSG other.%b %b %b\r\n" % match.groups()), must=frozenset({TIMEOUT}), may=frozenset()
    ),
    "a control line without an end": replace_line(b"MSG " + b"x" * 10_000),
    "an unknown error": replace_line(b"-ERR 'Made Up'\r\n"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_between_the_gateway_and_nats(
    tmp_path: Path, own_nats: NatsServer, name: str, report: Report
) -> None:
    fault = FAULTS[name]
    witness = Witness(delay=0.01)
    async with (
        Proxy(int(own_nats.url.rpartition(":")[2])).serving() as between,
        witness.answering(own_nats.url),
        run_gateway_process(tmp_path, between.url) as gateway,
        gateway.load(timeout=0.6).running() as load,
    ):
        between.forward = fault.forward
        await asyncio.sleep(fault.seconds)
        between.forward = proxy.forward
        recovery = await load.wait_for_recovery(since=time.monotonic())
    await load.check(witness)
    assert {"200"} | fault.must <= set(load.count()) <= {"200"} | fault.must | fault.may
    report.add(name, load, measured=f"success again {recovery:.2f} s after the repair")
