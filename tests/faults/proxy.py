"""A TCP proxy that does to the bytes between a gateway and NATS whatever it is told."""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

Forward = Callable[[bytes, asyncio.StreamWriter, bool], Awaitable[None]]
"""Forwards some bytes to a writer, or does what it likes; whether they come from the server. Raises Cut."""

READ = 4096  # bytes at a time
MESSAGE = re.compile(rb"MSG (_INBOX\.\S+) (\d+) (\d+)\r\n")


class Cut(Exception):
    """Close the connection, both ways."""


async def forward(data: bytes, writer: asyncio.StreamWriter, _: bool) -> None:
    """As it should be."""
    writer.write(data)
    await writer.drain()


async def drop(_data: bytes, _writer: asyncio.StreamWriter, _replies: bool) -> None:
    """Nothing arrives, and nothing is closed."""


async def delay(data: bytes, writer: asyncio.StreamWriter, _: bool) -> None:
    await asyncio.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - a load
    await forward(data, writer, _)


async def trickle(data: bytes, writer: asyncio.StreamWriter, _: bool) -> None:
    for byte in data:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)


async def cut_replies(data: bytes, writer: asyncio.StreamWriter, replies: bool) -> None:
    """In the middle of a reply."""
    found = MESSAGE.search(data) if replies else None
    if found is None:
        await forward(data, writer, replies)
    else:
        await forward(data[: found.end() - 3], writer, replies)
        raise Cut


async def cut_requests(data: bytes, writer: asyncio.StreamWriter, replies: bool) -> None:
    """In the middle of a request."""
    start = -1 if replies else data.find(b"PUB jobs.")
    if start < 0:
        await forward(data, writer, replies)
    else:
        await forward(data[: start + 12], writer, replies)
        raise Cut


def replace(make: Callable[[re.Match[bytes]], bytes]) -> Forward:
    """Something else in place of the line that announces a reply."""

    async def forward_other(data: bytes, writer: asyncio.StreamWriter, replies: bool) -> None:
        await forward(MESSAGE.sub(make, data) if replies else data, writer, replies)

    return forward_other


class Proxy:
    """Serves on loopback for the server at `port`. `forward` may be changed at any time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.forward: Forward = forward
        self.url = ""
        self.opened: list[float] = []
        """The instants at which connections came."""
        self._ends: set[asyncio.StreamWriter] = set()

    def close_all(self) -> None:
        """All connections, at once; new ones are taken."""
        for end in list(self._ends):
            end.transport.abort()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened.append(time.monotonic())
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.create_task(self._pump(reader, there_writer, False)),
            asyncio.create_task(self._pump(there_reader, writer, True)),
        ]
        ends = {writer, there_writer}
        self._ends |= ends
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ends -= ends
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool) -> None:
        with contextlib.suppress(Cut, OSError):
            while data := await reader.read(READ):
                await self.forward(data, writer, replies)
