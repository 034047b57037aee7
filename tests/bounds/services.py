"""The services behind the gateway, and a NATS server that lies: each a process of its own."""

import asyncio
import contextlib
import json
from multiprocessing.synchronize import Event

from tests.bounds.credentials import JWKS
from tests.harness import RawMessage, RawPeer

CREATED = "created"
SUBJECTS = ("echo", "greet.*", "slow.*", "never.*", "large.*", "many.*", "fields.*", CREATED)
SLOW = 1.0  # seconds
NEWS = 0.02  # seconds between two messages on the subject `news.busy`
PAST = 5000  # messages of 1 KiB in the stream PAST
MANY = 500  # replies to one request
LARGE = b"x" * 900_000
FIELDS = b"NATS/1.0\r\n%b\r\n" % (b"a:b\r\n" * 60_000)
INFO = b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true}\r\n'
NOBODY = b"HMSG %b %b 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"


def serve(url: str, ready: Event) -> None:
    """Answer what the routes of routes.yaml ask, until the process is ended."""
    asyncio.run(_serve(url, ready))


async def _serve(url: str, ready: Event) -> None:
    async with RawPeer.connect(url, *SUBJECTS) as peer, asyncio.TaskGroup() as tasks:
        await _store_past(peer)
        tasks.create_task(_publish_news(peer))
        ready.set()
        while True:
            message = await peer.next(timeout=3600)
            if message.subject.startswith("slow.") and message.subject != "slow.now":
                asyncio.get_running_loop().call_later(SLOW, _answer, peer, message)
            else:
                _answer(peer, message)


async def _store_past(peer: RawPeer) -> None:
    config = json.dumps({"name": "PAST", "subjects": ["past.*"], "storage": "memory"}).encode()
    peer.write(b"PUB $JS.API.STREAM.CREATE.PAST %b %d\r\n%b\r\n" % (CREATED.encode(), len(config), config))
    await peer.next()  # what is published before is not stored
    peer.write(b"PUB past.a 1024\r\n%b\r\n" % (b"x" * 1024) * PAST)


async def _publish_news(peer: RawPeer) -> None:
    while True:
        peer.write(b"PUB news.busy 1024\r\n%b\r\n" % (b"x" * 1024))
        await asyncio.sleep(NEWS)


def _answer(peer: RawPeer, message: RawMessage) -> None:
    kind = message.subject.partition(".")[0]
    if kind == "fields":
        peer.publish(message.reply, FIELDS)
    elif kind != "never":
        payload = LARGE if kind == "large" else b"hello"
        reply = b"PUB %b %d\r\n%b\r\n" % (message.reply, len(payload), payload)
        peer.write(reply * (MANY if kind == "many" else 1))


def tell_keys_once(port: int) -> None:
    """Be an issuer of tokens that tells its public keys to the first who asks, and lets all others wait."""
    asyncio.run(_tell_keys_once(port))


async def _tell_keys_once(port: int) -> None:
    body = json.dumps(JWKS).encode()
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not answers:
            await reader.read()
        else:
            writer.write(answers.pop())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


def lie(port: int, words: bytes, seconds: float, go: Event) -> None:
    """Be a NATS server without services; for so many seconds from `go` on, say these words over and over to all that
    are connected, `@` being the inbox of the client."""
    asyncio.run(_Liar(words, seconds, go).run(port))


class _Liar:
    def __init__(self, words: bytes, seconds: float, go: Event) -> None:
        self._words = words
        self._seconds = seconds
        self._go = go
        self._end: float | None = None

    async def run(self, port: int) -> None:
        async with await asyncio.start_server(self._serve, "127.0.0.1", port) as server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        async with asyncio.TaskGroup() as tasks:
            flood: asyncio.Task[None] | None = None
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while line := (await reader.readline()).split():
                    if line[0] == b"PING":
                        writer.write(b"PONG\r\n")
                    if line[0] == b"SUB" and flood is None:
                        sid, words = line[-1], self._words.replace(b"@", line[1].removesuffix(b"*"))
                        flood = tasks.create_task(self._flood(writer, words))
                    if line[0] in (b"PUB", b"HPUB"):
                        await reader.readexactly(int(line[-1]) + 2)
                        writer.write(NOBODY % (line[2], sid))
            if flood is not None:
                flood.cancel()
            writer.close()

    async def _flood(self, writer: asyncio.StreamWriter, words: bytes) -> None:
        block = words * (65_536 // len(words) + 1)
        with contextlib.suppress(ConnectionError):
            while not self._is_over():
                if self._end is not None:
                    writer.write(block)
                    await writer.drain()
                await asyncio.sleep(0.01 if self._end is None else 0)

    def _is_over(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._end is None and self._go.is_set():
            self._end = now + self._seconds
        return self._end is not None and now > self._end
