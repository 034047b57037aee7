"""Connections of a gateway that trusts proxies. A proxy names the caller in the headers of each request. With the PROXY
protocol it does so in one PROXY header at the beginning of the connection, before TLS.

Laws:
1. With the PROXY protocol, a connection of a trusted proxy must begin with a PROXY header, or it is refused. If the
   gateway guessed whether there is one, a caller could send its own through a proxy that sends none. In a connection of
   anybody else the gateway never looks for one: a PROXY header is neither HTTP nor TLS, and is refused.
2. If a PROXY header names a client, HTTP headers about the caller are believed only if that client is a trusted proxy
   too.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from ..edge.proxies import Proxies
from ..edge.proxy_protocol import ProxyHeader, parse_header
from ..edge.request import Request
from ..errors import BadRequest
from .bounds import Bounds
from .fast import FastProtocol
from .protocol import ProtocolFactory


class ForwardedProtocol(FastProtocol):
    """The fast lane, which believes the headers of trusted proxies. GatewayProtocol always does so."""

    def read_request(self) -> Request:
        """The request, by the caller that its headers name. The connection keeps its own caller."""
        request = super().read_request()
        request.caller = self.proxies.believe(request.caller, request.headers)
        return request


class AnnouncedConnection(asyncio.Protocol):
    """The protocol of a socket until its PROXY header has come, if the peer is trusted. Then the protocol that
    `make_protocol` returns takes its place. The argument is the header, the error in it, or None if the peer is not
    trusted. `count` returns how many connections have such a protocol."""

    def __init__(
        self,
        make_protocol: Callable[[ProxyHeader | BadRequest | None], asyncio.Protocol],
        proxies: Proxies,
        bounds: Bounds,
        count: Callable[[], int],
    ) -> None:
        self.opened_at = time.monotonic()
        self._make_protocol = make_protocol
        self._proxies = proxies
        self._bounds = bounds
        self._count = count
        self._socket: asyncio.Transport
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the PROXY header if the peer is a trusted proxy. Else begin the connection at once."""
        self._socket = transport  # type: ignore[assignment] # of a stream
        client = get_remote_addr(self._socket)
        if client is None:  # the connection has ended already: HAProxy resets those of its health checks
            self.abort()
        elif self._proxies.trusts(client[0]):
            handshakes, maximum = self._bounds.handshakes, self._bounds.maximum
            handshakes.open(self, excess=lambda: self._count() + len(handshakes) - maximum)
        else:
            self._hand_over(None)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes until the PROXY header is complete or wrong, and then hand the connection over."""
        self._begun += data
        try:
            header = parse_header(self._begun)
        except ValueError as error:
            self._hand_over(BadRequest(str(error)))
            return
        if header is None:
            self._bounds.handshakes.note_begun(self)
        else:
            self._hand_over(header, self._begun[header.size :])

    def _hand_over(self, announced: ProxyHeader | BadRequest | None, rest: bytes = b"") -> None:
        self._bounds.handshakes.forget(self)
        protocol = self._make_protocol(announced)
        self._socket.set_protocol(protocol)
        protocol.connection_made(self._socket)
        if rest:
            protocol.data_received(rest)

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the connection: it ended before its PROXY header was complete."""
        self._bounds.handshakes.forget(self)

    def abort(self) -> None:
        """Close the socket at once."""
        self._socket.abort()


def read_announcements(make_protocol: ProtocolFactory, proxies: Proxies, bounds: Bounds) -> ProtocolFactory:
    """The function that uvicorn calls for each connection if trusted proxies speak the PROXY protocol. It makes the
    protocol of `make_protocol`, once the PROXY header has come."""

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """Make the protocol of a new connection, as uvicorn asks for it."""
        return AnnouncedConnection(
            lambda announced: make_protocol(config, server_state, app_state, _loop, announced=announced),
            proxies,
            bounds,
            lambda: len(server_state.connections),
        )

    return make
