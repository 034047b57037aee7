"""The ASGI lane: runs the relay under any ASGI server, and under httpx.ASGITransport."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Self, TypeVar

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from ..checks.checker import Checker
from ..errors import GatewayError, RequestTimeout, Timeout
from ..exchange.outbound import Begun, Outbound, Streaming, Waiting, body_too_large, no_memory
from ..exchange.relay import Relay
from ..exchange.responses import Response, Unchecked
from ..exchange.way_out import make_caller_gone
from ..nats.feeds import Feeds
from ..nats.in_flight import InFlight, InFlightFuture, Sender
from ..routing.bodies import Check
from ..routing.kinds import Gather, Subscribe
from .asgi_exchange import EXCHANGE, AsgiExchange, CallerGone, place_below
from .caller_watch import CallerWatch, wait_beside
from .gatherer import Gatherer
from .head import find_length
from .streaming import stream
from .subscriber import Streams, Subscriber
from .uploads import Uploads

LOOK_INTERVAL = 0.25  # seconds between two checks whether a caller that waits for a policy has gone

_Result = TypeVar("_Result")

_log = structlog.get_logger("nats-http.asgi")


class AsgiLane:
    """ASGI middleware that answers the routes of the relay, and gives requests for pages to `app`. If the lane is
    behind other middleware, the changes of that middleware to the scope count, such as another address of the
    caller."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        relay: Relay,
        links: Mapping[str, Sender],
        checker: Checker,
        uploads: Uploads,
        feeds: Mapping[str, Feeds],
        streams: Streams,
        may_be_page: Callable[[bytes], bool],
        is_behind_middleware: bool = False,
    ) -> None:
        self._app = app
        self._relay = relay
        self._links = links
        self._checker = checker
        self._uploads = uploads
        self._may_be_page = may_be_page
        self._is_behind_middleware = is_behind_middleware
        self._watch = CallerWatch()
        self._subscriber = Subscriber(relay, feeds, streams, self._watch)
        self._gatherer = Gatherer(relay, checker, self._watch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: AsgiExchange | None = scope.get(EXCHANGE)
        if exchange is None:  # a WebSocket, or the lifespan
            await self._app(scope, receive, send)
            return
        if self._is_behind_middleware:
            exchange.read_again(scope)
        try:
            begun = exchange.take_begun() or self._relay.begin(exchange.request)
            if isinstance(begun, Waiting):
                begun = await self._resume(begun, exchange)
            answer = await self._exchange(begun, exchange, receive) if isinstance(begun, Outbound) else begun
        except CallerGone:
            exchange.has_caller_left = True
            if self._is_behind_middleware:  # which may wait for a response; this one goes nowhere
                await _write(make_caller_gone(exchange.route, "unknown"), send)
            return
        except Exception:
            answer = self._relay.fail(exchange.request, exchange.route)
            _log.exception("internal-error", request_id=answer.request_id.decode("ascii"))
        if answer is None and not self._is_behind_middleware and not self._may_be_page(exchange.request.path):
            answer = self._relay.not_found(exchange.request)
        if isinstance(answer, Response):
            await self._respond(answer, exchange, send)
        elif answer is None:  # middleware may have changed the path of a page, and not the raw one
            root = self._relay.proxies.find_root(exchange.request.caller, exchange.request.headers)
            await self._app(place_below(scope, root), receive, send)
        else:
            await stream(answer, exchange, receive, send)

    def _respond(self, response: Response, exchange: AsgiExchange, send: Send) -> Coroutine[Any, Any, None]:
        if not self._is_behind_middleware:
            return exchange.respond(response)
        exchange.response = response
        return _write(response, send)

    async def _resume(self, waiting: Waiting, exchange: AsgiExchange) -> Outbound | Response | Streaming | None:
        begun: Begun = waiting
        while isinstance(begun, Waiting):
            exchange.note_route(begun.route.name)
            begun = self._relay.resume(begun, await self._wait_for_policy(begun, exchange))
        return begun

    async def _wait_for_policy(self, waiting: Waiting, exchange: AsgiExchange) -> GatewayError | None:
        """The error with which the policy refuses the request, or None. Nothing is received meanwhile, so the body can
        still be read later."""
        task = asyncio.ensure_future(waiting.wait())
        try:
            while not task.done():
                left = waiting.deadline - time.monotonic()
                if left <= 0:
                    return Timeout.unsent()
                await asyncio.wait({task}, timeout=min(left, LOOK_INTERVAL))
                exchange.check_caller()
            task.result()
        except GatewayError as error:
            return error.with_traceback(None)  # its frames lead to the task, and that to the error
        finally:
            task.cancel()
        return None

    def _exchange(
        self, outbound: Outbound, exchange: AsgiExchange, receive: Receive
    ) -> Coroutine[Any, Any, Response | Streaming]:
        """Send the request, with its body if the route takes one, and wait for the response."""
        exchange.note_route(outbound.plan.route.name)
        if outbound.max_body is None:
            return self._ask(outbound, exchange, receive, None)
        return self._upload(outbound, exchange, receive)

    async def _upload(self, outbound: Outbound, exchange: AsgiExchange, receive: Receive) -> Response | Streaming:
        with _Upload(self._uploads, outbound) as upload:
            if exchange.server is not None:
                exchange.server.give_up = upload.evicted
            if refused := await self._load(outbound, exchange, receive, upload):
                return refused
            outbound.sent_at = time.monotonic()
            return await self._ask(outbound, exchange, receive, upload)

    async def _ask(
        self, outbound: Outbound, exchange: AsgiExchange, receive: Receive, upload: "_Upload | None"
    ) -> Response | Streaming:
        """Send the request, and make the response from its reply, or from many."""
        plan = outbound.plan
        if plan.is_stream:
            return await self._ask_for_many(outbound, exchange, receive, upload)
        entry = InFlightFuture(plan.share, outbound.request.caller.counted_as)
        self._send(entry, outbound, exchange, upload)
        try:
            outcome = await self._wait(entry.future, exchange, receive)
        except BaseException:
            entry.abandon()
            raise
        response = self._relay.finish(outbound, outcome)
        if not isinstance(response, Unchecked):
            return response
        exchange.check_caller()
        verdict = await self._wait(self._checker.submit(response.check, outbound.deadline), exchange, receive)
        return self._relay.finish_checked(outbound, response, verdict)

    async def _ask_for_many(
        self, outbound: Outbound, exchange: AsgiExchange, receive: Receive, upload: "_Upload | None"
    ) -> Response | Streaming:
        kind, elements = outbound.route.kind, outbound.plan.elements
        if isinstance(kind, Subscribe):
            exchange.check_caller()
            return await self._subscriber.open(outbound, kind, receive)
        assert isinstance(kind, Gather)  # noqa: S101 - for mypy: no other kind has many
        assert elements is not None  # noqa: S101 - for mypy
        many = self._gatherer.begin(outbound, kind)
        self._send(many, outbound, exchange, upload)
        if exchange.server is not None:
            exchange.server.give_up = many.abandon
        return await self._gatherer.finish(many, outbound, elements, receive)

    def _wait(
        self, future: "asyncio.Future[_Result]", exchange: AsgiExchange, receive: Receive
    ) -> Coroutine[Any, Any, _Result]:
        """Wait for the result of the future. If the caller leaves before that, this cancels it and raises CallerGone.
        Middleware may say that the caller has left when the server does not."""
        if exchange.server is None or self._is_behind_middleware:
            return self._watch.wait(future, receive)
        return wait_beside(exchange.server, future)

    async def _load(
        self, outbound: Outbound, exchange: AsgiExchange, receive: Receive, upload: "_Upload"
    ) -> Response | None:
        """Read the body, once there is memory for it. Returns the Response if it can't be read, or breaks its rules."""
        end = asyncio.get_running_loop().time() + outbound.deadline - time.monotonic()
        try:
            async with asyncio.timeout_at(end) as timeout:
                if exchange.server is None or not exchange.server.connection.has_whole_body():
                    await upload.ask(timeout)
                body = await _read_body(receive, outbound.max_body or 0)
        except TimeoutError:
            return self._relay.refuse(outbound, no_memory() if upload.lacks_memory else RequestTimeout())
        except GatewayError as error:
            return self._relay.refuse(outbound, error)
        exchange.bytes_in = len(body)
        upload.complete()
        loaded = self._relay.load(outbound, body)
        if isinstance(loaded, Check):
            exchange.check_caller()
            verdict = await self._wait(self._checker.submit(loaded, outbound.deadline), exchange, receive)
            return self._relay.load_checked(outbound, loaded, verdict)
        return loaded

    def _send(self, entry: InFlight, outbound: Outbound, exchange: AsgiExchange, upload: "_Upload | None") -> None:
        """Send the request. Raises CallerGone if the caller has left."""
        exchange.begin_sending()
        if upload is not None:
            upload.hand_over(entry)
        link = self._links[outbound.plan.link]
        link.send(entry, outbound.subject, outbound.headers, outbound.payload, outbound.deadline)
        outbound.payload = b""  # so that its memory is free as soon as it is written


async def _write(response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})


class _Upload:
    """A body that comes in pieces, and the memory for it. `evicted` ends it at once."""

    def __init__(self, uploads: Uploads, outbound: Outbound) -> None:
        self._uploads = uploads
        length = find_length(outbound.request.headers)
        self._size = (outbound.max_body or 0) if length is None else length
        self._memory: asyncio.Future[None] | None = None
        self._timeout: asyncio.Timeout | None = None
        self._is_handed_over = False
        self.lacks_memory = False

    async def ask(self, timeout: asyncio.Timeout) -> None:
        """Return once the memory is granted."""
        self._timeout = timeout
        self._memory = asyncio.get_running_loop().create_future()
        if not self._uploads.ask(self, self._size):
            self.lacks_memory = True
            await self._memory

    def granted(self) -> None:
        """Let `ask` return."""
        self.lacks_memory = False
        if self._memory is not None and not self._memory.done():
            self._memory.set_result(None)

    def evicted(self) -> None:
        """End the upload at once, as at its deadline."""
        self.lacks_memory = True
        if self._timeout is not None:
            with contextlib.suppress(RuntimeError):  # the timeout has just expired
                self._timeout.reschedule(0)

    def complete(self) -> None:
        """Note that the whole body has arrived."""
        self._uploads.complete(self)

    def hand_over(self, sent: InFlight) -> None:
        """Keep the memory until the body has left this process, and not only until the end of this block."""
        if self._memory is not None:
            self._is_handed_over = sent.wants_written = True
            sent.written = self._forget  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_handed_over:
            self._forget()

    def _forget(self) -> None:
        if self._memory is not None:
            self._uploads.forget(self)


async def _read_body(receive: Receive, limit: int) -> bytes:
    """The request body. Raises PayloadTooLarge as soon as it has more than `limit` bytes, and CallerGone if it breaks
    off."""
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
