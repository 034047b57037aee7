"""The base of all example responders: `run` keeps one ADR-32 service on NATS until a signal ends it.

Laws:
1. Every request that was taken from NATS is answered, even during the stop. Each request runs in its own task, and at
   most MAX_RUNNING run at once: the others wait in the queue of the subscription.
2. A responder outlives its server: it waits for NATS for ever, and replaces a client that has closed for good. Requests
   that this client had taken are lost; their callers see a timeout.
3. No request can end the responder or another request. A request that nats-py can't read is dropped, or makes it
   connect again (a form feed in the subject).
4. Every wait for a server that is away has a limit, and so has the wait for a handler at the stop.
5. A request can say how long its caller waits: `X-Request-Timeout: <milliseconds>`. If its turn comes later than that,
   it is dropped, since nobody waits for its answer.

Only this module and `_client` depend on internals of nats-py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nats.micro.service as micro
from nats.errors import ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError
from nats.micro.request import Request, ServiceError

from ._client import ArrivedMsg, ServiceClient, Work, draw_wait
from ._log import configure_logging
from ._options import Connection, read_connection, read_sign_fd
from ._signals import first_signal
from ._traces import start_traces

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

MAX_RUNNING = 256  # further requests wait in nats-py's queue, of 524,288 requests or 128 MiB
STOP_SECONDS = 10.0  # at the stop, for the requests that were taken
REPEAT_SECONDS, MAX_TROUBLES = 5.0, 32  # the same trouble is logged only once in this time; different ones meanwhile

INTERNAL_ERROR = ("500", "internal error")
TIME_LEFT = "x-request-timeout"
_MILLISECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """A payload with headers."""

    payload: bytes
    headers: dict[str, str]


Handler = Callable[[Request], Awaitable[bytes | Reply]]
"""Answers one request, with a reply or only its payload. A `ServiceError(code, description)` that it raises goes to the
caller unchanged. Any other exception is logged, and the caller gets INTERNAL_ERROR."""

logger = logging.getLogger("responders")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ADR-32 endpoint: `handler` answers each message on `subject` that asks for a reply."""

    name: str
    subject: str
    handler: Handler


def run(*, name: str, version: str, description: str, endpoints: Sequence[Endpoint], work: Work | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Then answer the requests that were taken, and return. A second signal ends the
    process. `work` runs beside that, from the connection to NATS until its end, and begins again on a new one.

    The service and its queue group have the name `name`. NATS_URL and similar variables name the server and the
    credentials.
    """
    sign_fd = read_sign_fd(name)
    configure_logging(name, is_short=sign_fd is not None)
    config = micro.ServiceConfig(name=name, version=version, description=description, queue_group=name)
    if traces := start_traces(name, version):
        endpoints = [replace(each, handler=traces.wrap(each.subject, each.handler)) for each in endpoints]
    asyncio.run(_Responder(config, endpoints, read_connection(name), sign_fd, work).serve())
    if traces:
        traces.stop()


class _Responder:
    """One service, on one connection at a time."""

    def __init__(
        self,
        config: micro.ServiceConfig,
        endpoints: Sequence[Endpoint],
        connection: Connection,
        sign_fd: int | None,
        work: Work | None,
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._connection = connection
        self._sign_fd = sign_fd
        self._work = work
        self._running = _Running()
        self._open: list[_OpenEndpoint] = []
        self._troubles: dict[str, float] = {}

    async def serve(self) -> None:
        """Return after a signal, when all requests that were taken are answered, or when the limits of a stop are
        reached."""
        stopping = asyncio.create_task(first_signal())
        while not stopping.done():
            client = ServiceClient(self._log_trouble)
            session = asyncio.create_task(self._serve_on(client))
            await asyncio.wait({stopping, session}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await client.abandon()
                await asyncio.wait({stopping}, timeout=draw_wait())
        unanswered = await self._drain(client)
        # Tasks that nats-py has left running may fail now, which does not matter.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        session.cancel()
        await client.abandon()
        logger.info("stopped unanswered=%d", unanswered)

    async def _serve_on(self, client: ServiceClient) -> None:
        """Connect, however long that takes, and serve. Return when the client is no longer usable."""
        try:
            await client.open(self._connection, name=self._config.name)
            service = micro.Service(client, self._config)
            await service.start()
            self._open = [
                _OpenEndpoint(service, endpoint, self._running, self._log_late) for endpoint in self._endpoints
            ]
            for endpoint in self._open:
                await endpoint.open()
            await client.flush()
            logger.info("connected server=%s", client.address)
            self._sign()
            await client.run_until_lost(self._work)
            logger.warning("connection given up reason=%s", client.last_error)
        except Exception as error:
            self._log_trouble(error)

    def _sign(self) -> None:
        """Tell the parent process, once, that requests are answered from now on."""
        if self._sign_fd is not None:
            with contextlib.suppress(OSError):  # nobody waits for it
                os.write(self._sign_fd, b".")
            os.close(self._sign_fd)
            self._sign_fd = None

    async def _drain(self, client: ServiceClient) -> int:
        """Stop taking requests, then wait for running ones, then for replies on their way. Returns the number of
        unanswered ones."""
        deadline = time.monotonic() + STOP_SECONDS
        drained = asyncio.gather(*(endpoint.drain() for endpoint in self._open), return_exceptions=True)
        if answers := await client.answers():
            await asyncio.wait({drained}, timeout=STOP_SECONDS)
        unanswered = await self._running.finish(deadline)
        if answers:
            await client.answers()
        return unanswered

    def _log_late(self) -> None:
        self._log_trouble(TimeoutError("its caller waits no more"), "request dropped")

    def _log_trouble(self, error: Exception, event: str = "connection trouble") -> None:
        """Log a trouble, but the same one only once in REPEAT_SECONDS. It never raises: nats-py calls it from its read
        loop."""
        now = time.monotonic()
        reason = str(error) or type(error).__name__
        self._troubles = {text: at for text, at in self._troubles.items() if now - at < REPEAT_SECONDS}
        if reason not in self._troubles and len(self._troubles) < MAX_TROUBLES:
            self._troubles[reason] = now
            logger.warning("%s reason=%s", event, reason)


class _OpenEndpoint(micro.Endpoint):
    """An endpoint on a connection. Unlike that of nats.micro, it runs requests at the same time, and can be drained."""

    def __init__(
        self,
        service: micro.Service,
        endpoint: Endpoint,
        running: _Running,
        log_late: Callable[[], None],
    ) -> None:
        answer = _answer_with(endpoint.handler)
        super().__init__(service, micro.EndpointConfig(endpoint.name, answer, service._queue_group, endpoint.subject))
        self._running = running
        self._log_late = log_late

    async def open(self) -> None:
        """Subscribe. From then on the endpoint is in INFO and STATS."""
        await self._start()
        self._service._endpoints.append(self)

    async def drain(self) -> None:
        """Return when the server sends no more messages, and all that it sent were taken."""
        if self._subscription:
            await self._subscription._drain()  # its drain() has no types

    async def _handle_request(self, msg: Msg) -> None:
        # nats-py takes the next message when this returns. So waiting here for a place holds the queue back.
        if msg.reply:
            await self._running.start(self._handle_in_time, msg)

    async def _handle_in_time(self, msg: Msg) -> None:
        if is_late(msg):
            self._log_late()
        else:
            await super()._handle_request(msg)


def _answer_with(handler: Handler) -> Callable[[Request], Awaitable[None]]:
    async def respond(request: Request) -> None:
        """Answer with the handler. An exception that it did not mean to raise becomes INTERNAL_ERROR."""
        try:
            answer = await handler(request)
            reply = answer if isinstance(answer, Reply) else Reply(answer, {})
            await request.respond(reply.payload, headers=reply.headers or None)
        except ServiceError:
            raise
        except (ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError) as error:
            logger.warning("reply lost subject=%r reason=%s", request.subject, error)
        except Exception:
            logger.exception("handler failed subject=%r", request.subject)
            raise ServiceError(*INTERNAL_ERROR) from None

    return respond


class _Running:
    """The requests that run now."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_RUNNING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, handle: Callable[[Msg], Coroutine[Any, Any, None]], msg: Msg) -> None:
        """Return when the request runs. That may be only after another one has ended."""
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
        """Wait until all have ended. At the deadline cancel the others, and return their number."""
        while self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        return sum(task.cancel() for task in self._tasks)


def is_late(msg: Msg) -> bool:
    """Whether the time is over for which the caller of a request waits. False if the request does not say it as a
    number."""
    for name, value in (msg.headers or {}).items():
        if name.lower() == TIME_LEFT and _MILLISECONDS.fullmatch(value) and isinstance(msg, ArrivedMsg):
            return time.monotonic() > msg.arrived + int(value) / 1000
    return False


def get_jetstream(request: Request, *, timeout: float) -> JetStreamContext:
    """JetStream on the connection of a request. Each call waits at most `timeout` seconds."""
    return request._msg._client.jetstream(timeout=timeout)


def get_max_payload(request: Request) -> int:
    """The most bytes that the payload of a reply may have, according to the server of a request."""
    return request._msg._client.max_payload


def find_header(request: Request, name: str) -> str | None:
    """The value of a request header. The case of its name does not matter. Several values become one list (RFC 9110
    §5.3)."""
    values = [value for key, value in (request.headers or {}).items() if key.lower() == name.lower()]
    return ", ".join(values) if values else None
