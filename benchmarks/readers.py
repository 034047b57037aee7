"""Callers of one stream, all in one process. Usage: PORT PATH COUNT.

It opens COUNT streams and prints `open`. Each line of its input is the number of events that each caller must get: it
reads until all have come, and prints what it found as a line of JSON. It ends with its input.

An event has a payload of 100 bytes: when it was sent, its number, and padding.
"""

import contextlib
import json
import os
import re
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence

SIZE = 100  # bytes of a payload
EVENT = re.compile(rb"data: (\d{20}) (\d{8})-{71}\n")
BATCH = 200  # streams that are opened at a time; no queue of a listener is shorter
PATIENCE = 20.0  # seconds without a new stream or event until it gives up; signs of life do not count


def write_payload(sent: int, number: int) -> bytes:
    """The payload of an event that is sent at an instant, in nanoseconds of the monotonic clock."""
    return b"%020d %08d" % (sent, number) + b"-" * (SIZE - 29)


def find_events(data: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """When each event was sent, and its number; and the bytes behind the last of them that can be part of another."""
    found, end = [], 0
    for match in EVENT.finditer(data):
        found.append((int(match[1]), int(match[2])))
        end = match.end()
    return found, data[end:][-2 * SIZE :]


def summarize(delays: Sequence[int], counts: Sequence[set[int]], expected: int) -> dict[str, float]:
    """The events, those that are missing, and percentiles of the delays, which are in nanoseconds."""
    missing = sum(expected - len(numbers) for numbers in counts)
    ordered = sorted(delays) or [0]
    p50, p99 = (ordered[len(ordered) * percent // 100] / 1e6 for percent in (50, 99))
    return {"events": len(delays), "missing": missing, "p50_ms": p50, "p99_ms": p99}


class Readers:
    """Sockets that each have one stream, and the bytes that are no whole event yet."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._rests: dict[int, bytes] = {}
        self._end = 0.0

    def open(self, port: int, path: str, count: int) -> None:
        """Open streams, until each has answered 200. Raises RuntimeError if one does not."""
        head = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n" % path.encode()
        while len(self._sockets) < count:
            waiting = set()
            for _ in range(min(BATCH, count - len(self._sockets))):
                connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                connection.sendall(head)
                self._sockets[connection.fileno()] = connection
                waiting.add(connection.fileno())
                self._epoll.register(connection, select.EPOLLIN)
            self._await_heads(waiting)

    def _await_heads(self, waiting: set[int]) -> None:
        self._end = time.monotonic() + PATIENCE
        for fd, data in self._read():
            if fd in waiting and not data.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"a stream is refused: {data[:200]!r}")
            waiting.discard(fd)
            if not waiting:
                return
        raise RuntimeError(f"{len(waiting)} streams got no answer")

    def _read(self) -> Iterator[tuple[int, bytes]]:
        """What comes, and from which socket, until `_end`. Raises RuntimeError if a stream ends."""
        while (left := self._end - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(left):
                data = os.read(fd, 65536)
                if not data:
                    raise RuntimeError("a stream has ended")
                yield fd, data

    def read(self, expected: int) -> dict[str, float]:
        """What comes until each stream has had that many events, or none comes any more."""
        delays: list[int] = []
        numbers: dict[int, set[int]] = {fd: set() for fd in self._sockets}
        wanted = expected * len(numbers)
        rests, clock = self._rests, time.monotonic_ns
        self._end = time.monotonic() + PATIENCE
        for fd, data in self._read():
            now = clock()
            events, rests[fd] = find_events(rests.pop(fd, b"") + data)
            for sent, number in events:
                delays.append(now - sent)
                numbers[fd].add(number)
                self._end = now / 1e9 + PATIENCE
            if len(delays) >= wanted:
                break
        return summarize(delays, list(numbers.values()), expected)


def main() -> None:
    port, path, count = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    readers = Readers()
    readers.open(int(port), path, int(count))
    print("open", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            print(json.dumps(readers.read(int(line))), flush=True)


if __name__ == "__main__":
    main()
