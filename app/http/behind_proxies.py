"""Connections of a gateway that trusts proxies. They name the caller in the headers of a request."""

from ..edge.proxies import Proxies
from .fast import FastProtocol


class ForwardedProtocol(FastProtocol):
    """The fast lane where the headers of trusted proxies are believed. On the ASGI lane `read_request` does that."""

    def begin_request(self) -> None:
        connected = self.caller
        self.caller = self.relay.proxies.believe(connected, self.headers)
        try:
            super().begin_request()
        finally:
            self.caller = connected


def choose_fast_protocol(proxies: Proxies) -> type[FastProtocol]:
    """That of the fast lane. Without trusted proxies they have no part in a connection."""
    return ForwardedProtocol if proxies.are_trusted else FastProtocol
