"""What every example responder shares: `run` keeps one ADR-32 service on NATS until a signal ends it.

Laws:
1. What was taken from NATS is answered, also while stopping. Each request runs in a task of its own, and at
   most MAX_RUNNING at once: the others wait in the queue of the subscription.
2. A responder outlives its server: it waits for NATS for ever, and replaces a client that closed for good.
   What such a client had taken is lost; the callers see a timeout.
3. No request can end the responder or another request. One that nats-py cannot read is dropped, or makes it
   connect anew (a form feed in the subject).
4. Nothing waits without a bound for a server that is away, nor, while stopping, for a handler.

Whatever leans on the internals of nats-py stands in this file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nats.micro.service as micro
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError
from nats.micro.request import Request, ServiceError

from responders._options import read_servers

if TYPE_CHECKING:
    from nats.aio.msg import Msg

MAX_RUNNING = 256  # further requests wait in nats-py's queue, which holds 524,288 of them or 128 MiB
STOP_SECONDS = 10.0  # for the requests that were taken to end
ANSWER_SECONDS = 2.0  # for a server to answer while stopping, or to take the rest while closing
RETRY_SECONDS = (0.5, 1.0)  # between two attempts to connect, drawn anew each time
PING_SECONDS, MAX_UNANSWERED_PINGS = 1, 3  # so a dead connection is left after four seconds
PATIENCE_SECONDS = 10.0  # without a server, then the client is replaced: nats-py's reconnect may hang
WATCH_SECONDS = 0.25  # between two looks at the client
REPEAT_SECONDS, MAX_TROUBLES = 5.0, 32  # how soon a trouble is logged again, and how many different ones till then

SIGNALS = (signal.SIGTERM, signal.SIGINT)
INTERNAL_ERROR = ("500", "internal error")

Handler = Callable[[Request], Awaitable[bytes]]
"""Answers one request with the payload of the reply. A `ServiceError(code, description)` that it raises goes to
the caller as it stands; any other exception is logged, and the caller gets INTERNAL_ERROR."""

logger = logging.getLogger("responders")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ADR-32 endpoint: `handler` answers each message on `subject` that asks for a reply."""

    name: str
    subject: str
    handler: Handler


def run(*, name: str, version: str, description: str, endpoints: Sequence[Endpoint]) -> None:
    """Serves until SIGTERM or SIGINT, then answers what it took and returns; a second signal ends the process.

    Service and queue group are called `name`; NATS_URL says where NATS is.
    """
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {name}: %(message)s")
    config = micro.ServiceConfig(name=name, version=version, description=description, queue_group=name)
    asyncio.run(_Responder(config, endpoints, read_servers(name)).serve())


class _Responder:
    """One service, on one connection at a time."""

    def __init__(self, config: micro.ServiceConfig, endpoints: Sequence[Endpoint], servers: list[str]) -> None:
        self._config = config
        self._endpoints = endpoints
        self._servers = servers
        self._running = _Running()
        self._open: list[_OpenEndpoint] = []
        self._troubles: dict[str, float] = {}

    async def serve(self) -> None:
        """Returns when a signal came and what was taken is answered, or the bounds of a stop are over."""
        stopping = asyncio.create_task(_first_signal())
        while not stopping.done():
            client = _Client(self._log_trouble)
            session = asyncio.create_task(self._serve_on(client))
            await asyncio.wait({stopping, session}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await client.abandon()
                await asyncio.wait({stopping}, timeout=_draw_wait())
        unanswered = await self._drain(client)
        # What nats-py has left running may end badly now: that is no news.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        session.cancel()
        await client.abandon()
        logger.info("stopped unanswered=%d", unanswered)

    async def _serve_on(self, client: _Client) -> None:
        """Connects, however long that takes, and returns when the client is of no more use."""
        try:
            await client.open(self._servers, name=self._config.name)
            service = micro.Service(client, self._config)
            await service.start()
            self._open = [_OpenEndpoint(service, endpoint, self._running) for endpoint in self._endpoints]
            for endpoint in self._open:
                await endpoint.open()
            await client.flush()
            logger.info("connected server=%s", client.address)
            await client.wait_lost()
            logger.warning("connection given up reason=%s", client.last_error)
        except Exception as error:
            self._log_trouble(error)

    async def _drain(self, client: _Client) -> int:
        """No more new requests, then no more running ones, then no more replies on their way. Counts the unanswered."""
        deadline = time.monotonic() + STOP_SECONDS
        drained = asyncio.gather(*(endpoint.drain() for endpoint in self._open), return_exceptions=True)
        if answers := await client.answers():
            await asyncio.wait({drained}, timeout=STOP_SECONDS)
        unanswered = await self._running.finish(deadline)
        if answers:
            await client.answers()
        return unanswered

    def _log_trouble(self, error: Exception) -> None:
        """Logs the same trouble only once in REPEAT_SECONDS. Never raises: nats-py calls it from its read loop."""
        now = time.monotonic()
        reason = str(error) or type(error).__name__
        self._troubles = {text: at for text, at in self._troubles.items() if now - at < REPEAT_SECONDS}
        if reason not in self._troubles and len(self._troubles) < MAX_TROUBLES:
            self._troubles[reason] = now
            logger.warning("connection trouble reason=%s", reason)


class _OpenEndpoint(micro.Endpoint):
    """An endpoint on a connection. Unlike nats.micro's it runs requests at the same time, and can be drained."""

    def __init__(self, service: micro.Service, endpoint: Endpoint, running: _Running) -> None:
        answer = _answer_with(endpoint.handler)
        super().__init__(service, micro.EndpointConfig(endpoint.name, answer, service._queue_group, endpoint.subject))
        self._running = running

    async def open(self) -> None:
        """Subscribes, and stands in INFO and STATS from then on."""
        await self._start()
        self._service._endpoints.append(self)

    async def drain(self) -> None:
        """Returns when the server sends no more, and all that it sent was taken."""
        if self._subscription:
            await self._subscription._drain()  # its drain() has no types

    async def _handle_request(self, msg: Msg) -> None:
        # nats-py takes the next message when this returns: waiting for a place here holds the queue back.
        if msg.reply:
            await self._running.start(super()._handle_request, msg)


def _answer_with(handler: Handler) -> Callable[[Request], Awaitable[None]]:
    async def answer(request: Request) -> None:
        try:
            await request.respond(await handler(request))
        except ServiceError:
            raise
        except (ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError) as error:
            logger.warning("reply lost subject=%r reason=%s", request.subject, error)
        except Exception:
            logger.exception("handler failed subject=%r", request.subject)
            raise ServiceError(*INTERNAL_ERROR) from None

    return answer


class _Running:
    """The requests that run now."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_RUNNING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, handle: Callable[[Msg], Coroutine[Any, Any, None]], msg: Msg) -> None:
        """Returns when the request runs, which may be only after another one ended."""
        await self._places.acquire()
        task = asyncio.create_task(handle(msg))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()):
            logger.warning("reply lost reason=%s", error)

    async def finish(self, deadline: float) -> int:
        """Waits for all to end, cancels those that run at the deadline, and counts them."""
        while self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        return sum(task.cancel() for task in self._tasks)


class _Client(Client):
    """A NATS client that logs what happens to it, and that no message can stop."""

    def __init__(self, log_trouble: Callable[[Exception], None]) -> None:
        super().__init__()
        self._log_trouble = log_trouble

    @property
    def address(self) -> str:
        """The server of this connection, without credentials."""
        return self.connected_url.netloc.rpartition("@")[2] if self.connected_url else ""

    async def open(self, servers: list[str], *, name: str) -> None:
        """Connects, however long that takes; from then on reconnects by itself."""
        await self.connect(
            servers,
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=MAX_UNANSWERED_PINGS,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
        )

    async def wait_lost(self) -> None:
        """Returns when the client closed for good, or has had no server for PATIENCE_SECONDS."""
        seen_at = time.monotonic()
        while not self.is_closed and time.monotonic() - seen_at < PATIENCE_SECONDS:
            await asyncio.sleep(WATCH_SECONDS)
            if self.is_connected:
                seen_at = time.monotonic()

    async def answers(self) -> bool:
        """Whether the server says within ANSWER_SECONDS that it has read all that was published so far."""
        return self.is_connected and await _ends_in_time(self.flush())

    async def abandon(self) -> None:
        """Closes, but waits no longer than ANSWER_SECONDS: a frozen server may never take what is unsent."""
        self._disconnected_cb = None
        await _ends_in_time(self.close())

    async def _on_error(self, error: Exception) -> None:
        self._log_trouble(error)
        self.options["reconnect_time_wait"] = _draw_wait()

    async def _on_disconnected(self) -> None:
        logger.info("disconnected")

    async def _on_reconnected(self) -> None:
        logger.info("reconnected server=%s", self.address)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # A subject that is not UTF-8, or a broken header block, would end nats-py's read loop for good, though
        # is_connected stays true. The parser is past the message already: drop it.
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:
            self._log_trouble(error)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes a PING past the commands that wait for its flusher: a drain has its PONG before the server
        # sees the UNSUB, and loses what the server sends in between; a flush ends before the replies are out.
        if self._pending and self.is_connected and self._transport:
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)


def _draw_wait() -> float:
    return random.SystemRandom().uniform(*RETRY_SECONDS)


async def _ends_in_time(work: Coroutine[Any, Any, None]) -> bool:
    """Whether work ends well within ANSWER_SECONDS. Else it is cancelled, but not awaited: nats-py swallows that."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    return not task.cancel() and not task.cancelled() and task.exception() is None


async def _first_signal() -> None:
    """Returns on the first of SIGNALS; from then on each ends the process at once, as PID 1 of a container too."""
    came = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, came.set)
    await came.wait()
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    logger.info("stopping")
