"""The floor: the least Python that does the job of `greet`, `echo` and `nobody`, with uvloop, httptools and a few lines
of NATS.

It has no rule at all: no deadline, no limit, no check of what it reads, no second try if NATS is gone. A caller must
wait for a response before it sends the next request.
"""

import asyncio
import os
import re
from collections.abc import Callable
from json.encoder import encode_basestring

import httptools
import uvloop

COMMAND = re.compile(rb"(?:H?MSG r\.(\d+) 1 (?:(\d+) )?(\d+)|[^\r]*)\r\n")
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
NOBODY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def wrap(payload: bytes) -> bytes:
    body = b'{"message":%b}' % encode_basestring(payload.decode()).encode()
    return RESPONSE % (b"application/json", len(body), body)


def pass_on(payload: bytes) -> bytes:
    return RESPONSE % (b"application/octet-stream", len(payload), payload)


class Nats(asyncio.Protocol):
    """One connection. What is asked during a turn of the event loop is written at its end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a socket
        self.transport = transport
        self.call_soon = asyncio.get_running_loop().call_soon
        self.data = bytearray()
        self.requests: list[bytes] = []
        self.waiting: dict[int, tuple[asyncio.Transport, Callable[[bytes], bytes]]] = {}
        self.last = 0
        options = b'{"headers":true,"no_responders":true,"verbose":false}'
        transport.write(b"CONNECT %b\r\nSUB r.* 1\r\nPING\r\n" % options)

    def ask(self, subject: bytes, payload: bytes, caller: asyncio.Transport, write: Callable[[bytes], bytes]) -> None:
        self.last += 1
        self.waiting[self.last] = caller, write
        if not self.requests:
            self.call_soon(self.flush)
        self.requests.append(b"PUB %b r.%d %d\r\n%b\r\n" % (subject, self.last, len(payload), payload))

    def flush(self) -> None:
        self.transport.write(b"".join(self.requests))
        self.requests.clear()

    def data_received(self, data: bytes) -> None:
        self.data += data
        end = 0
        while match := COMMAND.match(self.data, end):
            start = match.end()
            if match[1] is None:
                if match[0] == b"PING\r\n":
                    self.transport.write(b"PONG\r\n")
                end = start
                continue
            stop = start + int(match[3])
            if stop + 2 > len(self.data):
                break
            caller, write = self.waiting.pop(int(match[1]))
            if not caller.is_closing():
                # Only the server's `no responders` has headers here.
                caller.write(NOBODY if match[2] else write(bytes(self.data[start:stop])))
            end = stop + 2
        del self.data[:end]


class Http(asyncio.Protocol):
    def __init__(self, nats: Nats) -> None:
        self.nats = nats
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a socket
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url, self.body = url, b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        url = self.url
        if url.startswith(b"/greet/"):
            self.nats.ask(b"greet." + url[7:], b"", self.transport, wrap)
        elif url == b"/echo":
            self.nats.ask(b"echo", self.body, self.transport, pass_on)
        elif url.startswith(b"/nobody/"):
            self.nats.ask(b"nobody." + url[8:], b"", self.transport, pass_on)
        else:
            self.transport.write(NOT_FOUND)


async def main() -> None:
    loop = asyncio.get_running_loop()
    host, port = os.environ["NATS_URL"].removeprefix("nats://").split(":")
    _, nats = await loop.create_connection(Nats, host, int(port))
    await loop.create_server(lambda: Http(nats), "127.0.0.1", int(os.environ["PORT"]), backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
