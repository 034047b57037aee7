"""Connections of a gateway that trusts proxies. They name the caller in the headers of a request or, by the PROXY
protocol, at the beginning of the connection.

Laws:
1. With the PROXY protocol a connection of a trusted proxy begins with its header, or is refused: a guess whether one
   is there would let a caller write one through a proxy that sends none. In a connection of anybody else the header
   is never looked for; it is no HTTP and gets 400.
2. If the PROXY protocol names a client, headers of HTTP are believed only if that client is a trusted proxy too.
"""

import asyncio

from ..edge.proxies import Proxies
from ..edge.proxy_protocol import ProxyHeader, parse_header
from ..edge.request import find_caller
from ..errors import BadRequest
from .fast import FastProtocol
from .protocol import GatewayProtocol


class ForwardedProtocol(FastProtocol):
    """The fast lane where the headers of trusted proxies are believed. On the ASGI lane `read_request` does that."""

    def begin_request(self) -> None:
        connected = self.caller
        self.caller = self.relay.proxies.believe(connected, self.headers)
        try:
            super().begin_request()
        finally:
            self.caller = connected


class AnnouncedProtocol(GatewayProtocol):
    """The ASGI lane where trusted proxies speak the PROXY protocol. The header has to come within HEAD_TIMEOUT of the
    connection's opening, as the first request head has."""

    _announcement: bytes | None = None
    """The part of the header that has come; None if no header is awaited."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        if self.client is None:  # it is over already: HAProxy resets each connection of its checks
            transport.abort()
        elif self.proxies.trusts(self.caller.address) and not self.is_deaf:
            self._announcement = b""

    def data_received(self, data: bytes) -> None:
        if self._announcement is None:
            super().data_received(data)
            return
        data = self._announcement + data
        try:
            header = parse_header(data)
        except ValueError as error:
            self._announcement = None
            self.take_error(BadRequest(str(error)))
            return
        self._announcement = data if header is None else None
        if header is not None:
            self._believe(header)
            if rest := data[header.size :]:
                super().data_received(rest)

    def _believe(self, header: ProxyHeader) -> None:
        """The client takes the place of the proxy. One that the proxy does not know has no address."""
        if not header.is_local:
            self.client = header.source
            address = header.source[0] if header.source else None
            self.caller = find_caller(address, self.scheme, self.lane, peer=self.caller.address)


class AnnouncedForwardedProtocol(AnnouncedProtocol, ForwardedProtocol):
    """The same on the fast lane."""


def choose_protocols(proxies: Proxies, *, is_announced: bool) -> tuple[type[FastProtocol], type[GatewayProtocol]]:
    """Those of the fast lane and of the ASGI lane. Without trusted proxies they have no part in a connection; with
    `is_announced` trusted proxies speak the PROXY protocol."""
    if not proxies.are_trusted:
        return FastProtocol, GatewayProtocol
    return (AnnouncedForwardedProtocol, AnnouncedProtocol) if is_announced else (ForwardedProtocol, GatewayProtocol)
