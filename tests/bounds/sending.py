"""An attacker: a process that sends prepared bytes on raw sockets, as fast as they are taken.

It imports little, runs at a low priority and comes from an address of its own, so that what a bystander waits for is
the gateway.
"""

import contextlib
import math
import os
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Literal

ADDRESS = "127.0.0.2"  # of all attackers
PIECE = 256 * 1024  # bytes
BIND_ADDRESS_NO_PORT = 24  # linux/in.h: the port is chosen when it connects, so that there are enough
RESET = b"\x01\x00\x00\x00" + b"\x00\x00\x00\x00"  # struct linger: on, 0 seconds

Ending = Literal["wait", "close", "reset", "half-close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What an attacker sends on each of its connections: `first`, then `again` over and over, `most` bytes of it."""

    first: bytes = field(repr=False)
    again: bytes = field(default=b"", repr=False)
    makes: Callable[[], bytes] | None = None
    """Makes `again`, where that is large, or takes long."""
    most: int = 64 * 1024 * 1024
    connections: int = 1
    rate: float = math.inf
    """The most connections that it opens a second, at first."""
    piece: int = PIECE
    """The most bytes that are sent at once."""
    pause: float = 0.0
    """Seconds between two pieces of a connection."""
    reads: bool = True
    """Whether it takes what the gateway answers."""
    then: Ending = "wait"
    """What it does when all is sent; `wait` is for the gateway to close."""
    reopens: bool = True
    """Whether a connection that ended is followed by another."""

    @property
    def size(self) -> int:
        return len(self.first) + (self.most if self.again else 0)


class _Caller:
    """One connection of an attacker. It never blocks."""

    def __init__(self, port: int, sending: Sending, block: memoryview) -> None:
        self._sending = sending
        self._block = block
        self._sent = 0
        self.status = ""
        """Of the first answer."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        if not sending.reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind((ADDRESS, 0))
        self.socket.connect_ex(("127.0.0.1", port))

    @property
    def events(self) -> int:
        """What it waits for."""
        reads = selectors.EVENT_READ if self._sending.reads else 0
        return reads | (selectors.EVENT_WRITE if self._sent < self._sending.size else 0)

    def go_on(self, events: int) -> bool:
        """Read and send what can be; False when it has ended."""
        try:
            if events & selectors.EVENT_READ and not self._read():
                return False
            return not events & selectors.EVENT_WRITE or self._send()
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _read(self) -> bool:
        data = self.socket.recv(PIECE)
        self.status = self.status or data[9:12].decode("latin-1")
        return bool(data)

    def _send(self) -> bool:
        self._sent += self.socket.send(self._choose())
        if self._sent < self._sending.size:
            return True
        if self._sending.then == "half-close":
            self.socket.shutdown(socket.SHUT_WR)
        if self._sending.then == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return self._sending.then in ("wait", "half-close")

    def _choose(self) -> memoryview:
        first, piece = self._sending.first, self._sending.piece
        if self._sent < len(first):
            return memoryview(first)[self._sent : self._sent + piece]
        start = (self._sent - len(first)) % len(self._sending.again)
        return self._block[start : start + min(piece, self._sending.size - self._sent)]


def attack(port: int, sending: Sending, seconds: float, go: Event, results: Connection) -> None:
    """Send for so many seconds from `go` on, and tell how the connections ended: statuses, `closed`, `open`."""
    os.nice(10)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sending.makes is not None:
        sending = replace(sending, again=sending.makes())
    again = sending.again
    block = memoryview(again * (PIECE // len(again) + 2) if again else b"")
    results.send("ready")
    go.wait()
    with contextlib.closing(_Attacker(port, sending, block)) as attacker:
        attacker.go_on_until(time.monotonic() + seconds)
        results.send(attacker.count())


class _Attacker:
    """All connections of a process."""

    def __init__(self, port: int, sending: Sending, block: memoryview) -> None:
        self._port = port
        self._sending = sending
        self._block = block
        self._selector = selectors.DefaultSelector()
        self._callers: set[_Caller] = set()
        self._ended: Counter[str] = Counter()

    def go_on_until(self, end: float) -> None:
        """Send and read what can be, until this instant."""
        began = time.monotonic()
        opened = 0
        while (now := time.monotonic()) < end:
            while opened < min(self._sending.connections, 1 + self._sending.rate * (now - began)):
                self._open()
                opened += 1
            for key, events in self._selector.select(min(0.05, end - now)):
                if key.data.go_on(events):
                    self._follow(key)
                else:
                    self._replace(key.data)
            time.sleep(self._sending.pause)

    def count(self) -> Counter[str]:
        """How the connections ended, or what those that are open were answered."""
        return self._ended + Counter(caller.status or "open" for caller in self._callers)

    def close(self) -> None:
        """All connections."""
        for caller in self._callers:
            caller.socket.close()
        self._selector.close()

    def _open(self) -> None:
        caller = _Caller(self._port, self._sending, self._block)
        self._callers.add(caller)
        self._selector.register(caller.socket, caller.events, caller)

    def _replace(self, caller: _Caller) -> None:
        self._ended[caller.status or "closed"] += 1
        self._selector.unregister(caller.socket)
        self._callers.discard(caller)
        caller.socket.close()
        if self._sending.reopens:
            self._open()

    def _follow(self, key: selectors.SelectorKey) -> None:
        """Where a caller waits for something else now. One that waits for nothing stays open until the end."""
        events = key.data.events
        if events and events != key.events:
            self._selector.modify(key.data.socket, events, key.data)
        if not events:
            self._selector.unregister(key.data.socket)
