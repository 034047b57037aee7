"""How long a connection may be without progress, and who has gone.

A caller that has closed its sending half still gets the answer that it awaits. On the wire it looks like one that has
gone. So the first bytes of the answer go out at once: a caller that has gone resets the connection then.
"""

import asyncio
import math
import time
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from ..errors import GatewayError, RequestTimeout
from .bounds import Bounds
from .intake import BODY, HEAD, IDLE, Intake
from .sockets import has_closed_its_half, is_reset

KEEP_ALIVE = 75.0  # seconds between two requests; longer than the 60 of common load balancers, so that they close first
HEAD_TIMEOUT = 10.0  # seconds that a request head may take to arrive, the first of a connection from its opening on
WRITE_TIMEOUT = 30.0  # seconds in which the caller must read something of what it was sent
LAST_WORDS = 1.0  # seconds in which a caller that is quiet must take its last answer
LONGEST_LINGER = 30.0  # seconds in which it may send the rest of its request body first
BEGINNING = b"HTTP/1.1 "  # of every response


class Timed(Intake):
    """A connection that `check`, called every second or so, ends where nothing moves for too long: its head, its body,
    its response, and idleness are bounded in time. `refuse` and `end_broken_body` are the subclass's."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, bounds=bounds)
        self.lingers = False
        """Whether it has had its last answer, and what it still sends is dropped."""
        self.steps = 0
        """Responses so far."""
        self.linger_end = math.inf
        self.is_half_closed = False
        self.has_begun = False
        """Whether BEGINNING has been written of an answer that has not come yet."""
        self._seen: tuple[object, ...] = ()
        self.seen_at = time.monotonic()
        """When `check` last saw it get something done."""

    def write(self, data: bytes) -> None:
        """To the caller, but for what has gone out early."""
        if self.has_begun:
            self.has_begun = False
            data = data[len(BEGINNING) :]
        self.transport.write(data)

    def begin_answer(self) -> None:
        if not (self.has_begun or self.cycle.response_started or self.transport.get_write_buffer_size()):
            self.transport.write(BEGINNING)
            self.has_begun = True

    def note_unread(self, size: int) -> None:
        """So much more waits until the caller reads what it was sent."""
        if self.flow.write_paused:
            self.bounds.unread.note(self, self.transport.get_write_buffer_size() + size)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.bounds.unread.note(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.bounds.unread.note(self, 0)

    def limit_linger(self) -> None:
        """From now on the connection has only its last answer to deliver."""
        self.seen_at = time.monotonic()
        self.linger_end = self.seen_at + (LONGEST_LINGER if self.phase == BODY else LAST_WORDS)

    def leave(self) -> None:
        """Make room for another connection."""
        if self.is_idle:
            self.transport.close()
        else:
            self.transport.abort()

    def cut_off(self) -> None:
        """Let go of what the caller leaves unread."""
        self.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        is_open = not (self.lingers or self.has_rest or self.transport.is_closing())
        return is_open and self.phase == IDLE and not self.is_in_flight

    @property
    def is_answered(self) -> bool:
        """Whether it has its answer, and its request is still coming."""
        return self.phase == BODY and not (self.is_in_flight or self.transport.is_closing())

    def check(self, now: float) -> None:
        """End the connection, or what it waits for, when nothing has moved for too long."""
        if self.is_in_flight and (self.is_half_closed or self.flow.read_paused) and self._has_gone():
            self.transport.abort()
            return
        unread = self.transport.get_write_buffer_size()
        seen = self.steps, self.phase, unread, self.dropped
        if now > self.linger_end and not unread:
            self.transport.abort()
        elif seen != self._seen:
            self._seen, self.seen_at = seen, now
        elif now - self.seen_at > self._choose_patience(unread):
            self._expire(unread)

    def _has_gone(self) -> bool:
        """Whether the caller has, while nobody reads what it sends."""
        connection = self.transport.get_extra_info("socket")
        if is_reset(connection):
            return True
        if has_closed_its_half(connection):
            self.begin_answer()
        return False

    def _choose_patience(self, unread: int) -> float:
        if unread or self.transport.is_closing():
            return WRITE_TIMEOUT
        if self.lingers:
            return LAST_WORDS
        if self.phase == BODY:
            return self.bounds.body_timeout
        if self.is_in_flight:
            return math.inf
        return HEAD_TIMEOUT if self.phase == HEAD or self.cycle is None else KEEP_ALIVE

    def _expire(self, unread: int) -> None:
        if unread or self.lingers or self.transport.is_closing():
            self.transport.abort()
        elif self.phase == BODY and self.is_in_flight:
            self.stop_listening()
            self.end_broken_body(RequestTimeout())
        elif self.phase == HEAD:
            self.refuse(RequestTimeout())
        else:
            self.transport.close()

    # What a subclass says.

    def refuse(self, error: GatewayError) -> None:
        """Answer and close. Only where no request is in flight."""
        raise NotImplementedError

    def end_broken_body(self, error: GatewayError) -> None:
        """The body of the request in flight does not come to its end."""
        raise NotImplementedError
