"""The side of the server of one request that an application answers over ASGI."""

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Cycle(RequestResponseCycle):
    """As in uvicorn, which sets all of this again for each request. tests/http/test_uvicorn_contract.py checks that
    nothing is missing."""

    logger = access_logger = logging.getLogger("uvicorn.error")
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0

    def __init__(
        self,
        scope: Any,
        transport: SimpleNamespace,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        waiting_for_100_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.transport = transport  # type: ignore[assignment] # it has the methods that are used
        self.flow = flow
        self.default_headers = default_headers
        self.waiting_for_100_continue = waiting_for_100_continue
        self.keep_alive = keep_alive
        self.on_response = on_response
        self.message_event = asyncio.Event()
        self.body = bytearray()
