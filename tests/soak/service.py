"""A service for a soak, in a process of its own: it writes down each request before it answers.

Usage: FILE URL..., the NATS nodes of which the first is asked first. A lost connection is made again at the next node.
"""

import asyncio
import contextlib
import os
import sys
from itertools import cycle

from tests.harness import RawMessage, RawPeer

SUBJECTS = ("work.*", "upload.*", "large.*", "failing.*", "silent.*")
LARGE = 200_000  # bytes of a large reply
DELAY = 0.01  # seconds that a request takes
ERROR = b"NATS/1.0\r\nNats-Service-Error: no\r\nNats-Service-Error-Code: 409\r\n\r\n"


def make_reply(kind: str, number: str) -> bytes:
    """The body of the reply: the number of the request, and more of it if the reply is to be large."""
    text = f"{number} ".encode()
    return (text * (LARGE // len(text) + 1))[:LARGE] if kind == "large" else number.encode()


def answer(peer: RawPeer, message: RawMessage) -> None:
    """The reply to a request; `silent` has none."""
    kind, _, number = message.subject.partition(".")
    if kind == "failing":
        peer.publish(message.reply, ERROR)
    elif kind != "silent":
        payload = make_reply(kind, number)
        peer.write(b"PUB %b %d\r\n%b\r\n" % (message.reply, len(payload), payload))


async def serve(url: str, file: int) -> None:
    """Until the connection is lost."""
    loop = asyncio.get_running_loop()
    async with RawPeer.connect(url, *(f"{subject} q" for subject in SUBJECTS)) as peer:
        print("answering", file=sys.stderr, flush=True)
        while True:
            message = await peer.next(timeout=3600)
            os.write(file, message.subject.partition(".")[2].encode() + b"\n")
            loop.call_later(DELAY, answer, peer, message)


async def main() -> None:
    path, *urls = sys.argv[1:]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for url in cycle(urls):
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            await serve(url, file)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
