"""Answers `greet.*`, `echo`, `many.*`, `blob.SIZE` and, after a while, `slow.*` with as little CPU as Python can, so
that a benchmark does not measure it instead. Usage: HOST PORT."""

import asyncio
import re
import sys

import uvloop

COMMAND = re.compile(rb"(?:H?MSG (\S+) [1-5] (\S+) (?:(\d+) )?(\d+)|[^\r]*)\r\n")


COPIES = 5
"""The replies to each request to `many.*`. That has no queue group, so all responders reply."""
SLOW = 0.1
"""Seconds until there is a reply to `slow.*`."""


class Responder(asyncio.Protocol):
    """Reads requests off the wire, and writes all replies of a read at once."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a socket
        self.transport = transport
        self.data = bytearray()
        self.wanted = 0
        subscriptions = b"SUB greet.* q 1\r\nSUB echo q 2\r\nSUB blob.* q 3\r\nSUB many.* 4\r\nSUB slow.* q 5\r\n"
        transport.write(b'CONNECT {"headers":true,"verbose":false}\r\n' + subscriptions + b"PING\r\n")

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) < self.wanted:
            return
        replies: list[bytes] = []
        end = 0
        while match := COMMAND.match(self.data, end):
            subject = match[1]
            if subject is None:
                if match[0] == b"PING\r\n":
                    replies.append(b"PONG\r\n")
                end = match.end()
                continue
            start, size = match.end(), int(match[4])
            if start + size + 2 > len(self.data):
                self.wanted = start + size + 2 - end
                break
            payload = answer(subject, self.data, start + int(match[3] or 0), start + size)
            reply = (b"PUB %b %d\r\n" % (match[2], len(payload)), payload, b"\r\n")
            if subject[:5] == b"slow.":
                asyncio.get_running_loop().call_later(SLOW, self.transport.writelines, reply)
            else:
                replies += reply * COPIES if subject[:5] == b"many." else reply
            end = start + size + 2
        else:
            self.wanted = 0
        del self.data[:end]
        self.transport.write(b"".join(replies))


def answer(subject: bytes, data: bytearray, start: int, end: int) -> bytes:
    if subject[:6] == b"greet.":
        return b"hello, " + subject[6:]
    if subject[:5] == b"blob.":
        return bytes(int(subject[5:]))
    return bytes(memoryview(data)[start:end])


async def main() -> None:
    host, port = sys.argv[1:]
    await asyncio.get_running_loop().create_connection(Responder, host, int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
