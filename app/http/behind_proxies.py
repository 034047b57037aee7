"""Connections of a gateway that trusts proxies. They name the caller in the headers of a request or, by the PROXY
protocol, at the beginning of the connection, before TLS.

Laws:
1. With the PROXY protocol a connection of a trusted proxy begins with its header, or is refused: a guess whether one
   is there would let a caller write one through a proxy that sends none. In a connection of anybody else the header
   is never looked for; it is neither HTTP nor TLS, and is refused.
2. If the PROXY protocol names a client, headers of HTTP are believed only if that client is a trusted proxy too.
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
from ..errors import BadRequest
from .bounds import Bounds
from .fast import FastProtocol
from .protocol import ProtocolFactory


class ForwardedProtocol(FastProtocol):
    """The fast lane where the headers of trusted proxies are believed. On the ASGI lane `read_request` does that."""

    def begin_request(self) -> None:
        connected = self.caller
        self.caller = self.relay.proxies.believe(connected, self.headers)
        try:
            super().begin_request()
        finally:
            self.caller = connected


class AnnouncedConnection(asyncio.Protocol):
    """The protocol of a socket until the header of the PROXY protocol is there, if its peer is trusted. Then the one
    that `make_protocol` makes of the header, or of what is wrong with it, takes its place.
    `count` says how many connections have a protocol."""

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
        self._socket = transport  # type: ignore[assignment] # of a stream
        client = get_remote_addr(self._socket)
        if client is None:  # it is over already: HAProxy resets each connection of its checks
            self.abort()
        elif self._proxies.trusts(client[0]):
            handshakes, maximum = self._bounds.handshakes, self._bounds.maximum
            handshakes.open(self, excess=lambda: self._count() + len(handshakes) - maximum)
        else:
            self._hand_over(None)

    def data_received(self, data: bytes) -> None:
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
        self._bounds.handshakes.forget(self)

    def abort(self) -> None:
        self._socket.abort()


def read_announcements(make_protocol: ProtocolFactory, proxies: Proxies, bounds: Bounds) -> ProtocolFactory:
    """What uvicorn makes of each connection where trusted proxies speak the PROXY protocol: the same protocol, behind
    the header."""

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        return AnnouncedConnection(
            lambda announced: make_protocol(config, server_state, app_state, _loop, announced=announced),
            proxies,
            bounds,
            lambda: len(server_state.connections),
        )

    return make
