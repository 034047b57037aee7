"""The parts of one gateway: its application, its connection to NATS, and its servers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .certificates import Certificate
from .errors import CannotStart
from .exchange.relay import Relay
from .formats.clusters import MAIN
from .http.app import GatewayApp
from .http.behind_proxies import read_announcements
from .http.bounds import Bounds
from .http.lane import LaneName
from .http.protocol import GatewayProtocol, ProtocolFactory
from .http.server import GatewayServer, ServerBeside
from .http.subscriber import Streams
from .http.tls import Tls
from .nats.clusters import Clusters
from .nats.feeds import Feeds
from .nats.link import Link
from .pages.monitor import Monitor
from .serving import Serving

MAX_CONNECTIONS_BESIDE = 256  # at each address that serves only pages
MAX_BUFFERED_BESIDE = 1024 * 1024  # bytes, at each such address

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of one gateway. `drain` is set when it stops: then every response closes its connection, and `/readyz`
    answers 503. `protocols` has the function that makes the protocol of a connection, by lane."""

    app: GatewayApp
    beside: Mapping[Address, GatewayApp]
    """Applications that serve pages at other addresses, such as `GATEWAY_METRICS_ADDRESS`."""
    serving: Serving
    relay: Relay
    clusters: Clusters
    """The connections to NATS."""
    streams: Streams
    bounds: Bounds
    drain: asyncio.Event
    protocols: Mapping[LaneName, ProtocolFactory]
    monitor: Monitor
    tls: Tls | None
    """The TLS of its main port; None if that speaks plain HTTP."""
    is_announced: bool
    """Whether trusted proxies speak the PROXY protocol on its main port."""
    headers: Sequence[tuple[str, str]]
    """Fields of every response on its main port."""

    @property
    def link(self) -> Link:
        """The link to the cluster of NATS_URL."""
        return self.clusters[MAIN].link

    @property
    def feeds(self) -> Feeds:
        """The feeds of the cluster of NATS_URL."""
        return self.clusters[MAIN].feeds

    def choose_lane(self, asked: LaneName | None) -> LaneName:
        """The lane that is asked for. Without `asked` it is the fast lane, or ASGI if the application has middleware.
        Raises CannotStart if `asked` is the fast lane and there is middleware, which the fast lane does not run."""
        if asked == "fast" and self.app.has_middleware:
            raise CannotStart("the fast lane runs no middleware, and the application has some: leave --lane out")
        return asked or ("asgi" if self.app.has_middleware else "fast")

    def make_server(self, *, lane: LaneName | None, drain_timeout: float) -> GatewayServer:
        """The server of its main port, on the lane of `choose_lane`, with bounds on connections. `drain_timeout` is
        seconds. Raises CannotStart.

        With TLS, each turn of the event loop begins one handshake at least. Further callers wait in the kernel: in the
        gateway they would take the places of others."""
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
            takes_crowds=not self.tls,
        )

    def renew_certificate(self, certificate: Certificate) -> None:
        """Use this certificate from the next handshake on. Does nothing if the main port speaks plain HTTP."""
        if self.tls:
            self.tls.renew(certificate)

    def make_server_beside(self, address: Address) -> ServerBeside:
        """The server for one of the addresses in `beside`, with bounds of its own."""
        bounds = Bounds(maximum=MAX_CONNECTIONS_BESIDE, body_timeout=1.0, max_buffered=MAX_BUFFERED_BESIDE)
        relay = self.relay
        protocol = partial(GatewayProtocol, bounds=bounds, way_out=relay.way_out, proxies=relay.proxies)
        return ServerBeside(self.beside[address], protocol, bounds=bounds, drain=self.drain, drain_timeout=0.0)
