"""Answers `greet.*` as fast as Python can, so that it is not what a benchmark measures. Usage: HOST PORT."""

import asyncio
import re
import sys

REQUEST = re.compile(rb"H?MSG greet\.(\S+) 1 (\S+) (?:(\d+) )?(\d+)\r\n")


class Responder(asyncio.Protocol):
    """Reads requests without a payload off the wire and writes all replies of a read at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        self.rest = b""
        transport.write(b'CONNECT {"headers":true,"verbose":false}\r\nSUB greet.* q 1\r\nPING\r\n')

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        replies = []
        end = 0
        for match in REQUEST.finditer(data):
            size = int(match[4])
            if match.end() + size + 2 > len(data):
                break
            text = b"hello, " + match[1]
            replies.append(b"PUB %b %d\r\n%b\r\n" % (match[2], len(text), text))
            end = match.end() + size + 2
        if b"PING\r\n" in data[end:]:
            replies.append(b"PONG\r\n")
        self.rest = data[max(end, data.rfind(b"\r\n") + 2 if not replies else end) :][-4096:]
        self.transport.write(b"".join(replies))


async def main() -> None:
    host, port = sys.argv[1:]
    await asyncio.get_running_loop().create_connection(Responder, host, int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
