"""One request over ASGI, from its head to the last byte of its response. The server, the application and the lane share
this state. Each request becomes exactly one record."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote, unquote

from starlette.types import Message, Scope, Send

from ..edge.proxies import Proxies
from ..edge.request import Caller, Request, find_caller
from ..errors import CLOSE, Delivered, GatewayError, Internal
from ..exchange.outbound import Begun
from ..exchange.problems import ANSWERED
from ..exchange.relay import Relay
from ..exchange.responses import NOSNIFF, Fields, Response
from ..exchange.way_out import make_caller_gone
from ..formats.fields import add_fields

EXCHANGE = "nats_http.exchange"  # key of a scope: its AsgiExchange
SERVER = "nats_http.server"  # key of a scope: its ServerSide, if the server is ours

_NOTHING = Fields(())
_REQUEST_ID = b"x-request-id"


class CallerGone(Exception):
    """The HTTP connection was closed before the answer, so there is nobody to answer."""


class ServerConnection(Protocol):
    """The connection of a request, as the application sees it."""

    caller: Caller

    def note_unread(self, size: int) -> None:
        """Call this with the number of bytes that are about to be sent."""

    def has_whole_body(self) -> bool:
        """Whether the whole body of the request has arrived."""

    def is_gone(self) -> bool:
        """Whether nobody can read a response: the connection is lost, or is being closed."""

    def has_left(self) -> bool:
        """Whether the connection was lost before the end of the response."""

    def has_unread(self) -> bool:
        """Whether the caller must read more of the earlier bytes, before it is sent others."""

    async def wait_for_reader(self) -> None:
        """Return once it has read them, or has left."""

    def answer(self, response: Response, request: Request, bytes_in: int, *, is_last: bool) -> bool:
        """Write a whole response of the relay, and make its record. The last one closes the connection. Returns False
        if nobody can read it: then nothing is written, and there is no record yet."""


class ServerSide:
    """State of a request that our own server and the application share, beyond ASGI."""

    begun: Begun = None
    """The state of a request that the fast lane has begun and hands on."""
    route: str | None = None
    """The name of its route, once that is known."""
    is_sent = False
    """Whether the request has gone to the service."""
    give_up: Callable[[], object] | None = None
    """Ends what the application waits for, as soon as the caller no longer waits for it."""
    nudge: Callable[[], None] | None = None
    """Makes a stream send something soon: only that can show whether a caller has left, or has closed its sending half
    and still reads."""
    is_given_up = False
    """Whether the server has answered by itself, and made the record."""

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self.connection = connection
        self.request = request

    def has_lost_caller(self) -> bool:
        """Whether nobody waits for the answer, or the server has already answered."""
        return self.is_given_up or self.connection.has_left()


class AsgiExchange:
    """One request, and the sent part of its response. Its `send` wraps that of the server."""

    bytes_in = 0
    response: Response | None = None
    """The response of the lane, if the request was for a route."""
    route: str | None = None
    has_caller_left = False
    _is_sent = False
    _streams = False
    _is_broken = False
    _status: int | None = None
    _request_id = b""
    _bytes_out = 0
    _is_complete = False
    _is_lost = False
    _is_recorded = False

    def __init__(self, scope: Scope, send: Send, relay: Relay, drain: asyncio.Event) -> None:
        self.server: ServerSide | None = scope.get(SERVER)
        self.request = read_request(scope, relay.proxies) if self.server is None else self.server.request
        self._answered: list[GatewayError] = []
        scope[ANSWERED] = self._answered
        self._send = send
        self._relay = relay
        self._drain = drain

    def note_route(self, name: str | None) -> None:
        """Note the name of the route, for the server too."""
        self.route = name
        if self.server is not None:
            self.server.route = name

    def take_begun(self) -> Begun:
        """The state of a request that the fast lane has begun; None if there is none, or if it was taken before."""
        server = self.server
        if server is None or server.begun is None:
            return None
        begun, server.begun = server.begun, None
        return begun

    def read_again(self, scope: Scope) -> None:
        """Take over the changes of middleware to the scope."""
        received, self.request = self.request.received, read_request(scope, self._relay.proxies)
        self.request.received = received

    def check_caller(self) -> None:
        """Raises CallerGone if nobody waits for the answer, or if the server has already answered."""
        if self.server is not None and self.server.has_lost_caller():
            raise CallerGone

    def begin_sending(self) -> None:
        """Note that the request goes to the service now. Raises CallerGone if nobody waits for the answer."""
        server = self.server
        if server is not None:
            if server.has_lost_caller():
                raise CallerGone
            server.is_sent = True
        self._is_sent = True

    async def respond(self, response: Response) -> None:
        """Send a whole response of the lane. It already has the fields of every response."""
        self.response = response
        if self.server is None:
            await self._send_whole(response)
            return
        connection = self.server.connection
        if connection.has_unread() and not self._look_for_caller(len(response.body)):
            self._status = response.status
            await connection.wait_for_reader()
        self._is_recorded = connection.answer(response, self.request, self.bytes_in, is_last=self._drain.is_set())
        self._is_lost = not self._is_recorded

    async def _send_whole(self, response: Response) -> None:
        """Send a response through the server, which is not ours."""
        headers = response.headers
        if self._drain.is_set() and not response.closes:
            headers.append(CLOSE)
        self._status, self._bytes_out = response.status, len(response.body)
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body})
        self._is_complete = True

    def begin_stream(self, response: Response) -> None:
        """Begin a response whose body comes in parts. The record counts the parts that were given to the connection."""
        self.response = response
        self.note_route(response.route)
        self._streams = True

    def break_off(self) -> None:
        """Note that the response breaks off. Nothing that middleware sends after this may make it look complete."""
        self._is_broken = self._is_lost = True

    async def send(self, message: Message) -> None:
        """Send a message of an application or of middleware, with the fields of every response."""
        if self.has_caller_left or self._is_broken:
            return
        if message["type"] == "http.response.start":
            if not self._look_for_caller(len(self.response.body) if self.response else 0):
                self._status = message["status"]
                message["headers"] = self._complete(list(message.get("headers", ())))
            await self._send(message)
        elif message["type"] == "http.response.body":
            if self.request.method != "HEAD":
                self._bytes_out += len(message.get("body", b""))
            await self._send(message)
            if not message.get("more_body", False):
                self._note_end()
        else:
            await self._send(message)

    def _look_for_caller(self, size: int) -> bool:
        """Whether the caller has left. So many bytes are going to wait for it."""
        if self.server is not None:
            connection = self.server.connection
            self._is_lost = connection.is_gone()
            connection.note_unread(size)
        return self._is_lost

    def _note_end(self) -> None:
        """Note the end of the response. It was sent completely, unless the caller left while bytes waited for it."""
        self._is_complete = not (self._is_lost or (self.server is not None and self.server.connection.has_left()))

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        request = self.request
        if self.response is None and (request.vary or request.added):  # the relay has added them to its own
            headers = [(name.lower(), value) for name, value in headers]
            headers = add_fields(headers, (*request.added, (b"vary", request.vary)))
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

    def end(self) -> None:
        """Make the record, unless the server has made it. The application has finished the request."""
        if self._is_recorded:
            return
        if self._status is not None and self._status < 500 and not self._relay.way_out.sees_all:
            return
        if self.server is not None and self.server.is_given_up:
            return
        if self._status is not None and not self.has_caller_left:
            response, is_written = self._describe(self._status), self._is_complete
        elif self.has_caller_left or self._is_lost or (self.server is not None and self.server.connection.is_gone()):
            response, is_written = make_caller_gone(self.route, self._delivered), False
        else:  # the server says so
            response, is_written = Response(Internal.status, _NOTHING, b"", Internal.slug, delivered="unknown"), True
        self._relay.way_out.leave(
            response,
            self.request,
            self.request.caller,
            bytes_in=self.bytes_in,
            bytes_out=self._bytes_out if is_written or self._streams else 0,
            is_written=is_written,
        )

    @property
    def _delivered(self) -> Delivered:
        return "unknown" if self._is_sent else "no"

    def _describe(self, status: int) -> Response:
        """The Response that was sent, for the record."""
        response = self.response
        if response is not None and response.status == status:
            return response
        error = self._answered[-1] if self._answered else None
        slug, delivered = (error.slug, error.delivered) if error else (None, self._delivered)
        described = Response(status, _NOTHING, b"", slug, request_id=self._request_id)
        described.route, described.delivered = self.route, delivered
        described.facts = error.facts if error else ()
        return described


def read_request(scope: Scope, proxies: Proxies) -> Request:
    """The head of the request that a scope describes, received now. Its caller is the one that these proxies name."""
    root, headers = scope.get("root_path"), scope["headers"]
    caller = _find_caller(scope)
    return Request(  # by position: by name it would cost twice as much
        scope["method"],
        _find_path_below_root(scope) if root else scope.get("raw_path") or _encode(scope["path"]),
        scope["query_string"],
        headers,
        scope["http_version"],
        time.monotonic(),
        proxies.believe(caller, headers) if proxies.are_trusted else caller,
    )


def _find_caller(scope: Scope) -> Caller:
    """The caller at the other end of the connection, or the one that middleware has put into the scope."""
    client, root = scope.get("client"), scope.get("root_path")
    server: ServerSide | None = scope.get(SERVER)
    connected = server.connection.caller if server is not None else None
    certificate, peer = (connected.certificate, connected.peer) if connected else (None, None)
    address, scheme = client[0] if client else None, scope.get("scheme", "http")
    return find_caller(address, scheme, "asgi", quote(root) if root else "", certificate, peer)


def place_below(scope: Scope, root: str) -> Scope:
    """The scope as if the request had come below this path instead of its own root. The path is percent-encoded."""
    plain, before = unquote(root), scope.get("root_path", "")
    if plain == before:
        return scope
    raw = root.encode("ascii") + _find_path_below_root(scope)
    return {**scope, "root_path": plain, "path": plain + scope["path"].removeprefix(before), "raw_path": raw}


def _find_path_below_root(scope: Scope) -> bytes:
    """The path as it came, without the application's root."""
    root: str = scope.get("root_path", "")
    raw, plain = scope.get("raw_path") or b"", root.encode("utf-8")
    if raw.startswith(plain):
        return bytes(raw[len(plain) :])
    return _encode(scope["path"].removeprefix(root))  # the root came percent-encoded


def _encode(path: str) -> bytes:
    return quote(path).encode("ascii")
