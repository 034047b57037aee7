"""Services that die, hang or send wrong answers. All of it under load, beside a service that works."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.http.lane import LaneName
from tests.faults.gateways import run_gateway_process
from tests.faults.report import Report
from tests.faults.truth import LATE_WHERE_LOADED, Witness
from tests.harness import NatsServer, RawMessage, RawPeer, eventually
from tests.process.programs import run

TIMEOUT, PLENTY = 0.3, 2.0  # seconds, of the requests that a service does not answer in time, and of the others
LATE = 0.4

Reply = Callable[[RawPeer, RawMessage, bytes], object]
"""What an odd service does with a request and the payload that would be right."""


def with_block(block: bytes, payload: bytes | None = None) -> Reply:
    return lambda peer, message, right: peer.publish(message.reply, block, right if payload is None else payload)


def plainly(peer: RawPeer, reply: bytes, payload: bytes) -> None:
    peer.write(b"PUB %b %d\r\n%b\r\n" % (reply, len(payload), payload))


def twice(peer: RawPeer, message: RawMessage, right: bytes) -> None:
    plainly(peer, message.reply, right)
    plainly(peer, message.reply, b"again")


def late(peer: RawPeer, message: RawMessage, right: bytes) -> None:
    asyncio.get_running_loop().call_later(LATE, plainly, peer, message.reply, right)


def to_another_token(peer: RawPeer, message: RawMessage, right: bytes) -> None:
    plainly(peer, message.reply[:-1] + b"x", right)


def to_all_of_the_inbox(peer: RawPeer, message: RawMessage, right: bytes) -> None:
    inbox, _, token = message.reply.rpartition(b".")
    for other in (b"x", b"heartbeat", token + b"0", token[:-1], token + b".x"):
        plainly(peer, inbox + b"." + other, b"for nobody")
    plainly(peer, message.reply, right)


ODDITIES: dict[str, tuple[Reply, str]] = {
    "hangs": (lambda *_: None, "timeout (unknown)"),
    "replies twice": (twice, "200"),
    "replies after the deadline": (late, "timeout (unknown)"),
    "replies to another inbox token": (to_another_token, "timeout (unknown)"),
    "replies also to tokens that it made up": (to_all_of_the_inbox, "200"),
    "replies with a header line without a colon": (with_block(b"NATS/1.0\r\nno colon\r\n\r\n"), "bad-reply (yes)"),
    "replies with headers of another protocol": (with_block(b"HTTP/1.1 200 OK\r\n\r\n"), "bad-reply (yes)"),
    "replies with headers that do not end": (with_block(b"NATS/1.0\r\nA: b\r\n"), "bad-reply (yes)"),
    "replies with a line break in a header": (with_block(b"NATS/1.0\r\nEtag: a\nb: c\r\n\r\n"), "bad-reply (yes)"),
    "replies with a body that is too large": (with_block(b"NATS/1.0\r\n\r\n", b"x" * 1001), "bad-reply (yes)"),
    "replies with an invalid status": (with_block(b"NATS/1.0\r\nHttp-Status: 99\r\n\r\n"), "bad-reply (yes)"),
    "replies with a header `Status: 503`": (with_block(b"NATS/1.0\r\nStatus: 503\r\n\r\n", b""), "200"),
    "replies with status 503 and a payload": (with_block(b"NATS/1.0 503\r\n\r\n"), "bad-reply (yes)"),
    "replies with an error": (
        with_block(b"NATS/1.0\r\nNats-Service-Error-Code: 500\r\nNats-Service-Error: x\r\n\r\n", b""),
        "service-error (yes)",
    ),
}


async def be_odd(peer: RawPeer, witness: Witness) -> None:
    """Answer each request as the number in its subject says."""
    replies = [reply for reply, _ in ODDITIES.values()]
    while True:
        message = await peer.next(timeout=3600)
        reply = replies[int(message.subject.split(".")[1])]
        reply(peer, message, witness.note(message.subject))


async def test_odd_services_harm_nobody_else(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    witness, odd = Witness(), Witness()
    async with (
        witness.answering(own_nats.url),
        RawPeer.connect(own_nats.url, "odd.*.*") as peer,
        asyncio.TaskGroup() as tasks,
        run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway,
    ):
        service = tasks.create_task(be_odd(peer, odd))
        load = gateway.load()
        odd_loads = {
            name: gateway.load(
                path=f"/odd/{number}/{{id}}",
                timeout=TIMEOUT if "timeout" in kind else PLENTY,
                pause=0.1,
                echoes="Status:" not in name,
            )
            for number, (name, (_, kind)) in enumerate(ODDITIES.items())
        }
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.gather(*(stack.enter_async_context(each.running(5)) for each in odd_loads.values()))
            await stack.enter_async_context(load.running())
            await asyncio.sleep(1)
        await load.check(witness)
        for name, each in odd_loads.items():
            await each.check(odd)
            assert set(each.count()) == {ODDITIES[name][1]}, name
            report.add(f"a service that {name} ({lane} lane)", each)
        assert set(load.count()) == {"200"}
        assert await gateway.count_in_flight() == 0
        assert gateway.process.log.count('"event":"connected"') == 1
        service.cancel()
        report.add(f"beside all of these, a service that works ({lane} lane)", load)


async def test_a_service_that_is_killed_with_requests_in_flight(
    tmp_path: Path, own_nats: NatsServer, lane: LaneName, report: Report
) -> None:
    """What it had taken times out; what comes then is told at once that nobody is there."""
    witness = Witness()
    file = tmp_path / "ran"
    command = [sys.executable, "-m", "tests.faults.recorder", own_nats.url, str(file), "0.05"]
    async with run_gateway_process(tmp_path, own_nats.url, lane=lane) as gateway:
        with run(command, tmp_path / "recorder.log") as service:
            await asyncio.to_thread(service.find, "(answering)")
            async with gateway.load(timeout=0.5).running() as load:
                service.process.kill()
                killed = time.monotonic()
                await eventually(lambda: load.count()["no-responders (no)"] > 100)
                await asyncio.sleep(0.6)
        for name in file.read_text().split():
            witness.take(name)
        await load.check(witness)
    assert set(load.count()) == {"200", "timeout (unknown)", "no-responders (no)"}
    assert all(answer.began < killed + LATE_WHERE_LOADED for answer in load.failures if answer.slug == "timeout")
    report.add(f"the only service killed ({lane} lane)", load, measured="its requests in flight ran to their deadline")
