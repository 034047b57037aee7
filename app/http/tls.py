"""The current certificate of the gateway's HTTPS server."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from ..certificates import Certificate
from ..edge.proxy_protocol import ProxyHeader
from ..errors import BadRequest
from .bounds import Bounds
from .tls_connection import TlsConnection

MakeProtocol = Callable[..., asyncio.Protocol]
"""The function that uvicorn calls for each connection."""


class Tls:
    """Makes TLS connections with the current certificate."""

    def __init__(self, certificate: Certificate) -> None:
        self.renew(certificate)

    def renew(self, certificate: Certificate) -> None:
        """Use this certificate from the next handshake on. Open connections continue with the old one."""
        self._context = certificate.make_context()

    def wrap(self, make_protocol: MakeProtocol, bounds: Bounds) -> MakeProtocol:
        """The function that uvicorn calls for each connection: it makes the same protocol, behind TLS."""

        def make(
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
            *,
            announced: ProxyHeader | BadRequest | None = None,
        ) -> asyncio.Protocol:
            """Make the protocol of a new connection, as uvicorn asks for it."""
            return TlsConnection(
                lambda: make_protocol(config, server_state, app_state, _loop, announced=announced),
                self._context,
                bounds,
                lambda: len(server_state.connections),
                announced=announced,
            )

        return make
