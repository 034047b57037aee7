"""Writes the answers of one connection, and closes it after the last one.

This module uses internals of uvicorn 0.54. tests/http/test_uvicorn_contract.py checks them.
"""

import asyncio
import secrets
import time
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..edge.proxies import Proxies
from ..edge.request import Request
from ..errors import GatewayError, Internal
from ..exchange.problems import build_problem_response
from ..exchange.responses import Response
from ..exchange.way_out import WayOut
from ..nats.outgoing import BIG
from .bounds import Bounds
from .head import describe_error
from .heads import Heads
from .intake import BODY

_log = structlog.get_logger("nats-http.protocol")


class Answers(Heads):
    """A connection that answers its requests: with whole responses, or with a problem document for bytes that are not
    HTTP. `way_out` records each response that is made here. A subclass defines `end_broken_body`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
        way_out: WayOut,
        proxies: Proxies,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, bounds=bounds)
        self.way_out = way_out
        self.proxies = proxies
        self._error: GatewayError | None = None
        """The error in the bytes after the request in flight. It is sent after the answer to that request."""

    def write_whole(self, response: Response, request: Request, bytes_in: int) -> None:
        """Write the whole response to the request in flight, make its record, and go on."""
        cycle, body = self.cycle, response.body
        keep_alive = cycle.keep_alive and not response.closes
        begin = self.bounds.begin_response(response.status, self.server_state.default_headers)
        end = b"\r\n" if keep_alive or response.closes else b"connection: close\r\n\r\n"
        cycle.response_complete = True
        self.server_state.total_requests += 1
        self.steps += 1
        if self.has_begun or len(body) > BIG:
            self.write(response.encode(begin, end))
            self.transport.write(body)
        else:
            self.transport.write(response.encode(begin, end, body))
        way_out = self.way_out
        if request.trace is way_out.untold and response.slug is None and response.status < 500:
            if (counts := way_out.counts) is not None:
                counts.add(response, request.method, time.monotonic() - request.received, bytes_in, len(body))
        else:
            way_out.leave(response, request, request.caller, bytes_in)
        if not keep_alive:
            self.close()
        elif self.flow.read_paused or self.drops_input:
            self.go_on_after_answer()

    def end_after_answer(self) -> None:
        """As in Intake."""
        if self.is_in_flight:
            self.cycle.keep_alive = False
        else:
            self.close()

    def on_response_complete(self) -> None:
        """As in uvicorn, but without a timer for each request: `check` finds connections that are idle for too long."""
        self.server_state.total_requests += 1
        self.steps += 1
        self.go_on_after_answer()

    def go_on_after_answer(self) -> None:
        """Do what waited for the end of the answer: send an error, close, parse kept bytes, or read on."""
        if self.lingers or self.transport.is_closing():
            return
        if self._error is not None:
            self.loop.call_soon(self._say_error)
        elif self.drops_input:
            self.close()
        elif self.has_rest:
            self.loop.call_soon(self.go_on)
        else:
            self.flow.resume_reading()

    # Errors

    def take_error(self, error: Exception) -> None:
        """Send the error, but never instead of an answer that the caller still waits for."""
        error = describe_error(error)
        self.stop_listening()
        if self.is_in_flight and self.phase == BODY:
            self.loop.call_soon(self.end_broken_body, error)  # the application may not have begun
        elif self.is_in_flight:
            self._error = error
        elif self.phase == BODY:  # the request has its answer
            self.close()
        else:
            self.refuse(error)

    def _say_error(self) -> None:
        if self._error is not None and not (self.lingers or self.transport.is_closing()):
            self.refuse(self._error)

    def refuse(self, error: GatewayError, request: Request | None = None, route: str | None = None) -> None:
        """Answer with the error, and close. No request may be in flight. `request` is the refused one, if known."""
        self.lingers = True
        self.stop_listening()
        caller, fields = (request.caller, request.headers) if request else (self.caller, ())
        root = self.proxies.find_root(caller, fields)
        response = build_problem_response(error, instance=None, request_id=secrets.token_hex(8), route=route, root=root)
        if request is not None:
            response.answer(request)
        if isinstance(error, Internal):
            _log.error("internal-error", request_id=response.request_id.decode("ascii"), exc_info=error.__cause__)
        begin = self.bounds.begin_response(error.status, self.server_state.default_headers)
        end = b"\r\n" if response.closes else b"connection: close\r\n\r\n"
        is_written = not self.transport.is_closing()
        self.write(response.encode(begin, end, response.body))
        self.way_out.leave(response, request, caller, is_written=is_written)
        self._linger()

    # The end

    def close(self) -> None:
        """Close after the last answer. Bytes that still come are first read and dropped: otherwise they would cause a
        reset, and the caller could lose the answer (RFC 9112 §9.6)."""
        is_more = self.phase == BODY or self.drops_input or self.has_rest or self.flow.read_paused
        if is_more and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self.lingers = True
        self.stop_listening()
        if self.transport.can_write_eof() and not self.is_half_closed:
            self.transport.write_eof()
            self.flow.resume_reading()
            self.limit_linger()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The gateway stops: close, now or after the answer to the request in flight."""
        if not self.lingers:
            self.end_after_answer()
