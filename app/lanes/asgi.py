"""The relay over ASGI: works under any ASGI server, and under httpx.ASGITransport."""

import asyncio
import time
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.deadlines import Deadlines, Wait
from app.errors import CLOSE, GatewayError, RequestTimeout
from app.inflight import Awaited, Outcome
from app.link import Link
from app.relay import Outbound, Relay, Request, body_too_large
from app.responses import Response

WATCH_AFTER = 0.05  # seconds that an exchange may take before somebody looks whether its caller has gone

_log = structlog.get_logger("nats-http.asgi")


class CallerGone(Exception):
    """The HTTP connection closed before the answer; there is nobody to answer."""


class AsgiLane:
    """ASGI middleware: answers the routes of the relay, and leaves everything else to `app`. `drain` is the gateway's:
    while it is set every response closes its connection."""

    def __init__(self, app: ASGIApp, *, relay: Relay, link: Link, drain: asyncio.Event) -> None:
        self._app = app
        self._relay = relay
        self._link = link
        self._drain = drain
        self._watches = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, query, client = _raw_path(scope), scope["query_string"], scope.get("client")
        peer = client[0] if client else None
        request = Request(scope["method"], path, query, scope["headers"], time.monotonic(), peer)
        try:
            begun = self._relay.begin(request)
            response = await self._exchange(begun, receive) if isinstance(begun, Outbound) else begun
        except CallerGone:
            return
        except Exception:
            response = self._relay.fail(request)
            _log.exception("internal-error", request_id=dict(response.headers)[b"x-request-id"].decode("ascii"))
        if response is None:
            await self._app(scope, receive, self._close_when_draining(send))
        else:
            await self._respond(response, send)

    async def _exchange(self, outbound: Outbound, receive: Receive) -> Response:
        if outbound.max_body is not None:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + outbound.deadline - time.monotonic()):
                    body = await _read_body(receive, outbound.max_body)
            except TimeoutError:
                return self._relay.refuse(outbound, RequestTimeout())
            except GatewayError as error:
                return self._relay.refuse(outbound, error)
            refused = self._relay.load(outbound, body)
            del body
            if refused:
                return refused
        return self._relay.finish(outbound, await self._request(outbound, receive))

    async def _request(self, outbound: Outbound, receive: Receive) -> Outcome:
        """The outcome; CallerGone, with the entry removed, when the caller went away before it came."""
        sent = Awaited(outbound.plan.share, outbound.request.peer)
        self._link.send(sent, outbound.subject, outbound.headers, outbound.payload, outbound.deadline)
        outbound.payload = b""  # let go when it is written
        watch = _Watch(receive, sent.future)
        watch.slot = self._watches.add(time.monotonic() + WATCH_AFTER, watch)
        try:
            return await sent.future
        except asyncio.CancelledError:
            if watch.caller_gone:
                raise CallerGone from None
            raise
        finally:
            watch.stop()
            sent.abandon()

    async def _respond(self, response: Response, send: Send) -> None:
        headers = response.headers
        if self._drain.is_set() and not response.closes:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _close_when_draining(self, send: Send) -> Send:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.is_set():
                message["headers"] = [*message["headers"], CLOSE]
            await send(message)

        return closing


class _Watch:
    """Looks, once an exchange takes long, whether its caller has gone, and then cancels `future`."""

    __slots__ = ("_future", "_receive", "_task", "caller_gone", "slot")

    def __init__(self, receive: Receive, future: "asyncio.Future[Outcome]") -> None:
        self._receive = receive
        self._future = future
        self._task: asyncio.Task[None] | None = None
        self.slot: set[Wait]
        self.caller_gone = False

    def expire(self) -> None:
        """It takes long."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.caller_gone = self._future.cancel()

    def stop(self) -> None:
        self.slot.discard(self)
        if self._task is not None:
            self._task.cancel()


async def _read_body(receive: Receive, limit: int) -> bytes:
    """The request body. Raises PayloadTooLarge as soon as it is over `limit` bytes, CallerGone when it breaks off."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _raw_path(scope: Scope) -> bytes:
    """The path as it came, below the application's root."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    return raw.removeprefix(scope.get("root_path", "").encode("ascii")) if scope.get("root_path") else raw
