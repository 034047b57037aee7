"""A service that can be killed: it writes the id of each request to a file before it answers.

Usage: URL FILE DELAY, the last in seconds."""

import asyncio
import os
import sys

from tests.faults.truth import Witness


class Recorder(Witness):
    def __init__(self, file: int, *, delay: float) -> None:
        super().__init__(delay=delay)
        self._file = file

    def take(self, name: str) -> None:
        super().take(name)
        os.write(self._file, f"{name}\n".encode())


async def main() -> None:
    url, path, delay = sys.argv[1:]
    recorder = Recorder(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), delay=float(delay))
    async with recorder.answering(url):
        print("answering", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
