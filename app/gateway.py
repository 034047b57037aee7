"""What one gateway has: its application, its connection to NATS, and its servers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .certificates import Certificate
from .errors import CannotStart
from .exchange.relay import Relay
from .http.app import GatewayApp
from .http.behind_proxies import read_announcements
from .http.bounds import Bounds
from .http.lane import LaneName
from .http.protocol import GatewayProtocol, ProtocolFactory
from .http.server import GatewayServer, ServerBeside
from .http.tls import Tls
from .nats.link import Link
from .pages.monitor import Monitor
from .serving import Serving

MAX_CONNECTIONS_BESIDE = 256  # at an address of pages
MAX_BUFFERED_BESIDE = 1024 * 1024  # bytes

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of one gateway. `drain` is set when it stops: then every response closes its connection, and `/readyz`
    says 503. `protocols` are what its server makes of connections."""

    app: GatewayApp
    beside: Mapping[Address, GatewayApp]
    """Applications for addresses of their own, such as that of `GATEWAY_METRICS_ADDRESS`."""
    serving: Serving
    relay: Relay
    link: Link
    bounds: Bounds
    drain: asyncio.Event
    protocols: Mapping[LaneName, ProtocolFactory]
    monitor: Monitor
    tls: Tls | None
    """Of its own port; None where it speaks plain HTTP."""
    is_announced: bool
    """Whether trusted proxies speak the PROXY protocol on its own port."""
    headers: Sequence[tuple[str, str]]
    """Fields of every response on its own port."""

    def choose_lane(self, asked: LaneName | None) -> LaneName:
        """The one that is asked for, else the fast one, or ASGI where the application has middleware, which the fast
        lane does not run. Raises CannotStart where it would have to."""
        if asked == "fast" and self.app.has_middleware:
            raise CannotStart("the fast lane runs no middleware, and the application has some: leave --lane away")
        return asked or ("asgi" if self.app.has_middleware else "fast")

    def make_server(self, *, lane: LaneName | None, drain_timeout: float) -> GatewayServer:
        """Its server on the lane that `choose_lane` says, with bounds on connections. Raises CannotStart."""
        protocol = self.protocols[self.choose_lane(lane)]
        if self.tls:
            protocol = self.tls.wrap(protocol, self.bounds)
        if self.is_announced:
            protocol = read_announcements(protocol, self.relay.proxies, self.bounds)
        return GatewayServer(
            self.app,
            protocol,
            bounds=self.bounds,
            drain=self.drain,
            drain_timeout=drain_timeout,
            headers=self.headers,
        )

    def renew_certificate(self, certificate: Certificate) -> None:
        """Show this one to callers from the next handshake on."""
        if self.tls:
            self.tls.renew(certificate)

    def make_server_beside(self, address: Address) -> ServerBeside:
        """The server of one of `beside`, with bounds of its own."""
        bounds = Bounds(maximum=MAX_CONNECTIONS_BESIDE, body_timeout=1.0, max_buffered=MAX_BUFFERED_BESIDE)
        relay = self.relay
        protocol = partial(GatewayProtocol, bounds=bounds, way_out=relay.way_out, proxies=relay.proxies)
        return ServerBeside(self.beside[address], protocol, bounds=bounds, drain=self.drain, drain_timeout=0.0)
