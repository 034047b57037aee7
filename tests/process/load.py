"""Callers that ask without a pause, and note everything that goes wrong."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.harness import PATIENCE

_LENGTH = re.compile(rb"content-length: (\d+)")


@dataclass
class Load:
    """The answers that callers of a port got, and what went wrong. `longest` is how many seconds the slowest request
    took, with its connection."""

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    is_over: bool = False

    async def wait_for_more(self, count: int) -> None:
        """Until so many more requests are over."""
        end = self.answers.total() + count
        async with asyncio.timeout(2 * PATIENCE):
            while self.answers.total() < end:
                await asyncio.sleep(0.01)

    async def call_on_new_connections(self) -> None:
        """One caller, which opens a connection for each request."""
        while not self.is_over:
            started = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                    self._note(await _read_answer(reader), started)
                finally:
                    writer.close()
            except (OSError, EOFError) as error:
                self._note(repr(error).encode(), started)

    async def call_on_one_connection(self) -> None:
        """One caller, which opens a new connection when an answer says that this one ends."""
        while not self.is_over:
            started = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    await self._ask_until_close(reader, writer, started)
                finally:
                    writer.close()
            except (OSError, EOFError) as error:
                self._note(repr(error).encode(), started)

    async def _ask_until_close(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, started: float
    ) -> None:
        answer = b""
        while b"connection: close" not in answer and not self.is_over:
            writer.write(b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\n")
            answer = await _read_answer(reader)
            self._note(answer, started)
            started = time.monotonic()

    def _note(self, answer: bytes, started: float) -> None:
        self.longest = max(self.longest, time.monotonic() - started)
        is_good = answer.startswith(b"HTTP/1.1 200 ") and b"hello, sue" in answer
        self.answers["good" if is_good else answer.decode()] += 1


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, head
    return head + await reader.readexactly(int(length[1]))


@contextlib.asynccontextmanager
async def loading(port: int, callers: int) -> AsyncIterator[Load]:
    """As many callers of each kind, until the end of the block. Each finishes its last request."""
    load = Load(port)
    async with asyncio.TaskGroup() as tasks:
        try:
            for _ in range(callers):
                tasks.create_task(load.call_on_new_connections())
                tasks.create_task(load.call_on_one_connection())
            yield load
        finally:
            load.is_over = True
