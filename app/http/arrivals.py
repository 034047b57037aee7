"""Accepts callers who come together.

libuv accepts one connection in a turn of the event loop, and a busy loop has few turns. With 1,000 callers, one turn
takes as long as hundreds of requests, so that the last new callers beside them would wait for seconds. Once libuv has
accepted a connection, Arrivals accepts more that the kernel has ready.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence

FEW, MOST = 8, 256  # connections that are accepted in a turn at least, and at most
SHARE = (
    2  # answers in a turn for each connection; with one, a flood of callers with a request each would make turns grow
)


class Arrivals:
    """The connections that wait at `listeners`, each of which gets a protocol that `make_protocol` returns.
    `count_answers` returns how many requests have been answered so far. The fewer are answered in a turn, the fewer
    connections are accepted: a flood of connections delays no requests, and processes that share a socket share its
    callers."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        make_protocol: Callable[[], asyncio.Protocol],
        count_answers: Callable[[], int],
    ) -> None:
        for listener in listeners:
            listener.setblocking(False)
        self._listeners = listeners
        self._make_protocol = make_protocol
        self._count_answers = count_answers
        self._loop = asyncio.get_running_loop()
        self._is_due = False
        self._some_wait = False
        self._answers = 0  # at the beginning of this turn
        self._beginning: set[asyncio.Task[None]] = set()

    def note(self) -> None:
        """Note that libuv has accepted a connection, so that others may wait."""
        if self._is_due:
            return
        self._is_due = True
        if not self._some_wait:
            self._answers = self._count_answers()
        self._loop.call_soon(self._accept)

    def _accept(self) -> None:
        before, self._answers = self._answers, self._count_answers()
        left = min(max(FEW, (self._answers - before) // SHARE), MOST)
        for listener in self._listeners:
            while left and (connection := _accept_one(listener)):
                left -= 1
                task = self._loop.create_task(self._begin(connection))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
        self._is_due, self._some_wait = False, not left

    async def _begin(self, connection: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._make_protocol, connection)


def _accept_one(listener: socket.socket) -> socket.socket | None:
    """A connection, or None if no more wait, the listener is closed, or the process has no more files."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    return connection
