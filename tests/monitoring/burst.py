"""Asks one page on many connections at once, again after so many seconds, in a process of its own: PORT PATH COUNT
SECONDS are its arguments.

Writes a line to stderr when it begins, and whenever all have been answered with 200.
"""

import asyncio
import sys
import time
from contextlib import suppress


class Asker(asyncio.Protocol):
    """Writes a request on its connection when told to, and reads until the answer has begun."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a socket
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[None]:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 200 ") and not self.answered.done():
            self.answered.set_result(None)


async def main() -> None:
    port, path, count, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    loop = asyncio.get_running_loop()
    askers = [(await loop.create_connection(Asker, "127.0.0.1", port))[1] for _ in range(count)]
    print("ready", file=sys.stderr, flush=True)
    request = f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    start = time.monotonic()
    for burst in range(1_000_000):
        await asyncio.sleep(start + burst * seconds - time.monotonic())
        await asyncio.gather(*[asker.ask(request) for asker in askers])
        print("answered", file=sys.stderr, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
