"""Accepts callers who come together.

libuv accepts one connection in a turn of the event loop, and a busy loop has few turns. With 1,000 callers, one turn
takes as long as hundreds of requests, so that the last new callers beside them would wait for seconds. Once libuv has
accepted a connection, Arrivals accepts more that the kernel has ready.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence

FEW, MOST = 8, 64
"""The connections that are accepted in a turn: FEW, and after a turn that left some, twice as many as in that one, up to
MOST. So processes that share a socket share its callers, and a turn delays no request by more than some milliseconds."""


class Arrivals:
    """The connections that wait at `listeners`, each of which gets a protocol that `make_protocol` returns."""

    def __init__(self, listeners: Sequence[socket.socket], make_protocol: Callable[[], asyncio.Protocol]) -> None:
        for listener in listeners:
            listener.setblocking(False)
        self._listeners = listeners
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._limit = FEW
        self._is_due = False
        self._beginning: set[asyncio.Task[None]] = set()

    def note(self) -> None:
        """Note that libuv has accepted a connection, so that others may wait."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._accept)

    def _accept(self) -> None:
        self._is_due = False
        left = self._limit
        for listener in self._listeners:
            while left and (connection := _accept_one(listener)):
                left -= 1
                task = self._loop.create_task(self._begin(connection))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
        self._limit = FEW if left else min(2 * self._limit, MOST)

    async def _begin(self, connection: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._make_protocol, connection)


def _accept_one(listener: socket.socket) -> socket.socket | None:
    """A connection, or None if no more wait, the listener is closed, or the process has no more files."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    return connection
