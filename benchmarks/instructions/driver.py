"""Sends the requests of each case through both protocols of the gateway, with nothing between: no sockets, no server.

Usage: FOLDER REQUESTS CASE…  In FOLDER are the routes and what they name. For each case callgrind, if this runs below
it, writes a file whose description ends with the name of the case.
"""

import asyncio
import ctypes
import os
import random
import sys
from pathlib import Path

import uvloop

from app.gateway import Gateway
from app.main import build_gateway
from app.nats.addresses import Address
from app.nats.connection import Connection
from app.nats.parser import Tap
from app.observe.log import configure_logging
from app.settings import load_settings
from benchmarks.instructions.cases import CASES, Case
from benchmarks.instructions.wires import Wire, answer_all
from benchmarks.responder import answer

CALLERS = 16
"""Requests that are in flight at the same time, as they are under load."""
NAMES = 10_000
WARM_UP = 10  # turns of all callers
MOST_TURNS = 100  # of the event loop, until all callers have their answers


class Marks:
    """Tells callgrind what to count. `library` has `zero` and `dump`; without it nothing is counted."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library)) if library.exists() else None

    def zero(self) -> None:
        if self._library:
            self._library.zero()

    def dump(self, name: str) -> None:
        if self._library:
            self._library.dump(name.encode())


def connect(gateway: Gateway) -> tuple[Wire, Connection]:
    """Connect the gateway with a server that is only a wire."""
    wire = Wire()
    connection = Connection(Address.parse("nats://127.0.0.1:4222"), gateway.link._events)
    connection.max_payload = 1024 * 1024
    connection._transport = wire
    connection.outgoing.open(wire, None)
    gateway.link._connection = connection
    return wire, connection


def respond(subject: bytes, payload: bytes) -> bytes | None:
    if subject.startswith(b"nobody."):
        return None
    return bytes(answer(subject, bytearray(payload), 0, len(payload)))


class Driver:
    """The callers of one case, and the server behind the gateway."""

    def __init__(self, gateway: Gateway, case: Case, folder: Path) -> None:
        self._gateway = gateway
        self._expected = b"HTTP/1.1 %d " % case.status
        self._nats, self._connection = connect(gateway)
        stream = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        self._tap = Tap(stream, self._connection._parser, self._connection.inbox, unread=0)
        server = gateway.make_server(lane=case.lane, drain_timeout=0)
        server.config.load()
        make = gateway.protocols[case.lane]
        self._callers = [(make(server.config, server.server_state, {}), Wire()) for _ in range(CALLERS)]
        for protocol, wire in self._callers:
            protocol.connection_made(wire)
        headers = list(case.headers)
        if case.credentials:
            headers += (folder / case.credentials).read_text().splitlines()[:1]
        if case.body is not None:
            headers.append(f"Content-Length: {len(case.body)}")
        method = "GET" if case.body is None else "POST"
        self._head = f"{method} {case.path} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in headers) + "\r\n"
        self._body = case.body or b""

    def write_requests(self, count: int) -> list[bytes]:
        """Requests with names drawn at random, the same ones in each run."""
        draw = random.Random(1)  # noqa: S311 - no secret
        heads = [
            self._head.replace("{name}", f"name{draw.randrange(NAMES)}").replace("{id}", draw.randbytes(16).hex())
            for _ in range(count)
        ]
        return [head.encode() + self._body for head in heads]

    async def turn(self, requests: list[bytes]) -> None:
        """One request of each caller, until all have their answers. Raises RuntimeError if one is not as it should
        be."""
        for (protocol, _), request in zip(self._callers, requests, strict=True):
            protocol.data_received(request)
        answers = dict.fromkeys(range(CALLERS), b"")
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            if commands := self._nats.take():
                self._tap.data_received(answer_all(commands, respond))
            for number, (_, wire) in enumerate(self._callers):
                answers[number] += wire.take()
            if all(answers.values()):
                break
        for answered in answers.values():
            if not answered.startswith(self._expected):
                raise RuntimeError(f"the answer is not {self._expected!r}: {answered[:300]!r}")

    async def run(self, requests: list[bytes]) -> None:
        for start in range(0, len(requests), CALLERS):
            await self.turn(requests[start : start + CALLERS])


async def main() -> None:
    folder, count, wanted = Path(sys.argv[1]), int(sys.argv[2]), set(sys.argv[3:])
    os.environ["GATEWAY_ROUTES"] = str(folder / "routes.yaml")
    configure_logging(color=False, form="json", level=load_settings().log_level)
    marks = Marks(folder / "marks.so")
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        gateway = build_gateway()
        driver = Driver(gateway, case, folder)
        requests = driver.write_requests(count)
        await driver.run(requests[: WARM_UP * CALLERS])
        marks.zero()
        await driver.run(requests)
        if counts := gateway.monitor.counts:
            counts.flush()
        marks.dump(case.name)


if __name__ == "__main__":
    uvloop.run(main())
