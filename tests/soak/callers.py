"""Callers of several gateways. Each has one keep-alive connection and one request at a time."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.ledger import CLAIMS, Answer, Claim, Ledger
from tests.soak.plan import PATIENCE

HOST = "127.0.0.1"
REQUESTS = 40  # on one connection; then the caller goes to any of the gateways again
CLOSED = Answer(Claim.NO, "closed while idle")
"""A gateway that stops closed the connection before it read the request."""
NO_ANSWER = Answer(Claim.NOTHING, "no answer")


@dataclass(slots=True)
class Address:
    """Where a gateway listens. `generation` is the number of gateways that have stopped there."""

    name: str
    port: int
    generation: int = 0
    is_ready: bool = False
    """A balancer sends nothing to a new gateway before it is ready."""
    is_stopping: bool = False


def choose(addresses: Sequence[Address]) -> Address:
    """One of those that are ready. At least one always is."""
    return random.choice([address for address in addresses if address.is_ready])  # noqa: S311 - a load


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller sends. `timeout` is in seconds."""

    method: str
    path: str
    timeout: float
    headers: str = ""
    """Whole lines."""
    body: bytes = b""

    def write(self) -> bytes:
        """The bytes of it."""
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: soak\r\nX-Request-Timeout: {self.timeout * 1000:.0f}ms\r\n"
        return f"{head}{self.headers}{length}\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Response:
    """What a caller got."""

    status: int
    is_problem: bool
    is_last: bool
    """Whether the connection ends."""
    body: bytes

    def understand(self) -> Answer:
        """Its meaning."""
        about = json.loads(self.body) if self.is_problem or self.status == 201 else {}
        if not self.is_problem:
            return Answer(Claim.YES, str(self.status), about.get("seq", 0))
        return Answer(CLAIMS.get(about.get("delivered", ""), Claim.NOTHING), about["type"].rpartition("/")[2])


@dataclass(slots=True)
class Caller:
    """One of the callers. `ledger` takes what it hears."""

    addresses: list[Address]
    ledger: Ledger
    _address: Address = field(init=False)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    _generation: int = 0
    _count: int = 0

    async def ask(self, request: Request) -> tuple[Answer, bytes]:
        """The answer, and the body of the response. The ledger has counted it."""
        await self._connect()
        began = time.monotonic()
        response = await self._exchange(request)
        answer = response.understand() if response else self._explain()
        if response is None or response.is_last or self._count >= REQUESTS:
            self.close()
        late = time.monotonic() - began - request.timeout
        self.ledger.count(answer, gateway=self._address.name, late=late, path=request.path)
        if answer.claim is Claim.NOTHING:
            self.ledger.blame(f"{request.method} {request.path}: {answer.kind}, on request {self._count}")
        return answer, response.body if response else b""

    def close(self) -> None:
        """The connection, if there is one."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _connect(self) -> None:
        """To a gateway that takes the connection. Raises TimeoutError if there is none for long."""
        if self._streams and self._streams[0].at_eof():
            self.close()
        async with asyncio.timeout(PATIENCE):
            while self._streams is None:
                self._address = choose(self.addresses)
                self._generation, self._count = self._address.generation, 0
                with contextlib.suppress(OSError):
                    self._streams = await asyncio.open_connection(HOST, self._address.port, limit=1 << 20)
                    return
                await asyncio.sleep(0.01)

    async def _exchange(self, request: Request) -> Response | None:
        """The response. None if the connection ended before it."""
        assert self._streams is not None
        reader, writer = self._streams
        self._count += 1
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(request.timeout + PATIENCE):
                writer.write(request.write())
                return await read_response(reader)
        return None

    def _explain(self) -> Answer:
        """Why there is no response. A connection that was idle may end when its gateway stops."""
        address = self._address
        has_stopped = address.is_stopping or address.generation != self._generation
        return CLOSED if has_stopped and self._count > 1 else NO_ANSWER


async def read_response(reader: asyncio.StreamReader) -> Response:
    """Raises EOFError or OSError if the connection ends before its end."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    is_problem = "problem" in fields.get("content-type", "")
    return Response(int(status.split()[1]), is_problem, fields.get("connection") == "close", body)
