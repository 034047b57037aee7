"""One request over ASGI, from its head to the last byte of its response: what the server, the application and the lane
know of it. It becomes exactly one record."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.types import Message, Scope, Send

from ..edge.request import Request, find_caller
from ..errors import CLOSE, Delivered, GatewayError, Internal
from ..exchange.outbound import Waiting
from ..exchange.problems import ANSWERED
from ..exchange.relay import Relay
from ..exchange.responses import NOSNIFF, Fields, Response
from ..exchange.way_out import make_caller_gone

EXCHANGE = "nats_http.exchange"  # in a scope: its AsgiExchange
SERVER = "nats_http.server"  # in a scope: its ServerSide, where the server is ours

_NOTHING = Fields(())
_REQUEST_ID = b"x-request-id"


class ServerSide:
    """What our own server and the application tell each other about a request, beyond ASGI."""

    __slots__ = ("begun", "give_up", "has_whole_body", "is_given_up", "is_gone", "is_sent", "note_unread")

    def __init__(
        self,
        *,
        note_unread: Callable[[int], None],
        has_whole_body: Callable[[], bool],
        is_gone: Callable[[], bool],
        begun: Waiting | None = None,
    ) -> None:
        self.note_unread = note_unread
        """To be called with the size of what is about to be sent."""
        self.has_whole_body = has_whole_body
        self.is_gone = is_gone
        """Whether nobody is there to read a response."""
        self.begun = begun
        """Where the fast lane has begun the request and hands it on."""
        self.is_sent = False
        """Whether the request has gone to the service."""
        self.give_up: Callable[[], None] | None = None
        """Ends an upload that nobody waits for any more."""
        self.is_given_up = False
        """Whether the server has answered by itself, and made the record."""


class AsgiExchange:
    """One request, and what has been sent of its response. `send` stands for that of the server."""

    def __init__(self, scope: Scope, send: Send, relay: Relay, drain: asyncio.Event) -> None:
        self.request = read_request(scope)
        self.server: ServerSide | None = scope.get(SERVER)
        self.bytes_in = 0
        self.response: Response | None = None
        """Of the lane, where the request was for a route."""
        self.route: str | None = None
        self.has_caller_left = False
        self._is_sent = False
        self._scope = scope
        self._send = send
        self._relay = relay
        self._drain = drain
        self._status: int | None = None
        self._request_id = b""
        self._bytes_out = 0
        self._is_complete = False
        self._is_lost = False

    async def send(self, message: Message) -> None:
        """With what every response has. Counts what is sent."""
        kind = message["type"]
        body = message.get("body", b"") if kind == "http.response.body" else b""
        if self.server is not None:
            self._is_lost = self._is_lost or self.server.is_gone()
        if kind == "http.response.start" and not self._is_lost:
            self._status = message["status"]
            message["headers"] = self._complete(list(message.get("headers", ())))
        elif kind == "http.response.body":
            self._bytes_out += len(body)
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            self._is_complete = not self._is_lost

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower(): value for name, value in headers}
        self._request_id = names.get(_REQUEST_ID, b"")
        if not self._request_id:
            self._request_id = self._relay.choose_request_id(self.request.headers).encode("ascii")
            headers.append((_REQUEST_ID, self._request_id))
        if NOSNIFF[0] not in names:
            headers.append(NOSNIFF)
        if self._drain.is_set() and CLOSE not in headers:
            headers.append(CLOSE)
        return headers

    def note_sent(self) -> None:
        """The request goes to the service now."""
        self._is_sent = True
        if self.server is not None:
            self.server.is_sent = True

    def end(self) -> None:
        """The application is done with it: make the record, unless the server has made it."""
        if self.server is not None and self.server.is_given_up:
            return
        if self._status is not None:
            response, is_written = self._describe(self._status), self._is_complete
        elif self.has_caller_left or self._is_lost or (self.server is not None and self.server.is_gone()):
            response, is_written = make_caller_gone(self.route, self._delivered), False
        else:  # the server says so
            response, is_written = Response(Internal.status, _NOTHING, b"", Internal.slug, delivered="unknown"), True
        self._relay.way_out.leave(
            response,
            self.request,
            self.request.caller,
            bytes_in=self.bytes_in,
            bytes_out=0 if self.request.method == "HEAD" else self._bytes_out,
            is_written=is_written,
        )

    @property
    def _delivered(self) -> Delivered:
        return "unknown" if self._is_sent else "no"

    def _describe(self, status: int) -> Response:
        """What was sent, for the record."""
        response = self.response
        if response is not None and response.status == status:
            return response
        error: GatewayError | None = self._scope.get(ANSWERED)
        slug, delivered = (error.slug, error.delivered) if error else (None, self._delivered)
        described = Response(status, _NOTHING, b"", slug, request_id=self._request_id)
        described.route, described.delivered = self.route, delivered
        return described


def read_request(scope: Scope) -> Request:
    """The head of the request that a scope describes, received now."""
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=_find_raw_path(scope),
        query=scope["query_string"],
        headers=scope["headers"],
        version=scope.get("http_version", "1.1"),
        received=time.monotonic(),
        caller=find_caller(client[0] if client else None, scope.get("scheme", "http"), "asgi"),
    )


def _find_raw_path(scope: Scope) -> bytes:
    """The path as it came, below the application's root."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    return raw.removeprefix(scope.get("root_path", "").encode("ascii")) if scope.get("root_path") else raw
