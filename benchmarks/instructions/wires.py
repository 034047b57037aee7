"""The two sides of the gateway without sockets: callers, and a NATS server with its services. So all runs are alike."""

import asyncio
import re
from collections.abc import Callable

from app.nats.inbox import SID

_COMMAND = re.compile(rb"(?:H?PUB (\S+) (\S+) (?:(\d+) )?(\d+)|[^\r]*)\r\n")
_NONE = b"NATS/1.0 503\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 8080)})
        self._written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.append(bytes(data))

    def take(self) -> bytes:
        """What was written since the last call."""
        written = b"".join(self._written)
        self._written.clear()
        return written

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


def answer_all(commands: bytes, answer: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """The messages of a server, whose services `answer` the subject and the payload of each command. Without an answer
    there are no responders."""
    messages: list[bytes] = []
    end = 0
    while match := _COMMAND.match(commands, end):
        end = match.end()
        if match[1] is None:
            continue
        start, stop = end + int(match[3] or 0), end + int(match[4])
        end = stop + 2
        payload = answer(match[1], commands[start:stop])
        if payload is None:
            sizes = len(_NONE), len(_NONE)
            messages.append(b"HMSG %b %d %d %d\r\n%b\r\n" % (match[2], SID, *sizes, _NONE))
        else:
            messages.append(b"MSG %b %d %d\r\n%b\r\n" % (match[2], SID, len(payload), payload))
    return b"".join(messages)
