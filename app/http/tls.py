"""The certificate that the server of the gateway shows at the moment."""

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
"""What uvicorn calls for each connection."""


class Tls:
    """Makes connections with the certificate of the moment."""

    def __init__(self, certificate: Certificate) -> None:
        self.renew(certificate)

    def renew(self, certificate: Certificate) -> None:
        """Show this one from the next handshake on. Connections that are open go on."""
        self._context = certificate.make_context()

    def wrap(self, make_protocol: MakeProtocol, bounds: Bounds) -> MakeProtocol:
        """What uvicorn makes of each connection: the same protocol, behind TLS."""

        def make(
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
            *,
            announced: ProxyHeader | BadRequest | None = None,
        ) -> asyncio.Protocol:
            return TlsConnection(
                lambda: make_protocol(config, server_state, app_state, _loop, announced=announced),
                self._context,
                bounds,
                lambda: len(server_state.connections),
                announced=announced,
            )

        return make
