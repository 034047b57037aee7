"""The NATS client of an example responder. It is that of nats-py, but no message can stop it, and it never waits for a
server for ever.

Only this module and `_lifecycle` depend on internals of nats-py.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.aio.msg import Msg

if TYPE_CHECKING:
    from ._options import Connection

ANSWER_SECONDS = 2.0  # for an answer of the server at the stop, and for the last bytes at the end
RETRY_SECONDS = (0.5, 1.0)  # between two attempts to connect, drawn again each time
PING_SECONDS, MAX_UNANSWERED_PINGS = 1, 3  # so a dead connection is left after four seconds
PATIENCE_SECONDS = 10.0  # without a server; then the client is replaced, since nats-py's reconnect may hang
WATCH_SECONDS = 0.25  # between two checks of the client

logger = logging.getLogger("responders")


Work = Callable[[Client], Coroutine[Any, Any, None]]
"""What a service does without being asked. Only a cancellation ends it."""


@dataclass
class ArrivedMsg(Msg):
    """A message with the instant of its arrival, of `time.monotonic`."""

    arrived: float = field(default_factory=time.monotonic)


class ServiceClient(Client):
    """A NATS client that logs events of its connection, and that no message can stop."""

    msg_class = ArrivedMsg

    def __init__(self, log_trouble: Callable[[Exception], None]) -> None:
        super().__init__()
        self._log_trouble = log_trouble

    @property
    def address(self) -> str:
        """The server of this connection, without credentials."""
        return self.connected_url.netloc.rpartition("@")[2] if self.connected_url else ""

    async def open(self, connection: Connection, *, name: str) -> None:
        """Connect, however long that takes. After that it reconnects by itself."""
        await self.connect(
            connection.servers,
            user_credentials=connection.user_credentials,
            nkeys_seed=connection.nkeys_seed,
            user=connection.user,
            password=connection.password,
            token=connection.token,
            tls=connection.tls,
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=MAX_UNANSWERED_PINGS,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
        )

    async def run_until_lost(self, work: Work | None) -> None:
        """Run this work, if any, until the client is lost. Raises the exception of work that fails before."""
        waits = [asyncio.create_task(self.wait_lost())]
        if work:
            waits.append(asyncio.create_task(work(self)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def wait_lost(self) -> None:
        """Return when the client has closed for good, or has had no server for PATIENCE_SECONDS."""
        seen_at = time.monotonic()
        while not self.is_closed and time.monotonic() - seen_at < PATIENCE_SECONDS:
            await asyncio.sleep(WATCH_SECONDS)
            if self.is_connected:
                seen_at = time.monotonic()

    async def answers(self) -> bool:
        """Whether the server confirms within ANSWER_SECONDS that it has read everything that was published so far."""
        return self.is_connected and await _ends_in_time(self.flush())

    async def abandon(self) -> None:
        """Close, within ANSWER_SECONDS: a frozen server may never take the unsent bytes."""
        self._disconnected_cb = None
        await _ends_in_time(self.close())

    async def _on_error(self, error: Exception) -> None:
        self._log_trouble(error)
        self.options["reconnect_time_wait"] = draw_wait()

    async def _on_disconnected(self) -> None:
        logger.info("disconnected")

    async def _on_reconnected(self) -> None:
        logger.info("reconnected server=%s", self.address)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # A subject that is not UTF-8, or a broken header block, would end the read loop of nats-py for good, while
        # is_connected stays true. The parser is already past the message, so drop it.
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:
            self._log_trouble(error)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes a PING before the commands that wait for its flusher. So a drain gets its PONG before the
        # server sees the UNSUB, and loses messages in between. And a flush ends before the replies are out.
        if self._pending and self.is_connected and self._transport:
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)


def draw_wait() -> float:
    """The seconds to wait until the next attempt to connect."""
    return random.SystemRandom().uniform(*RETRY_SECONDS)


async def _ends_in_time(work: Coroutine[Any, Any, None]) -> bool:
    """Whether work ends well within ANSWER_SECONDS. Else it is cancelled, but not awaited: nats-py swallows that."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    return not task.cancel() and not task.cancelled() and task.exception() is None
