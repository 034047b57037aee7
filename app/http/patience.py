"""Ends connections that make no progress for too long, and those whose caller has gone.

A caller that has closed its sending half still gets its answer. On the wire it looks like one that has gone. So the
first bytes of the answer are sent at once: if the caller has gone, it then resets the connection.
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
HEAD_TIMEOUT = 10.0  # seconds for a request head to arrive; the first one of a connection counts from its opening
WRITE_TIMEOUT = 30.0  # seconds in which the caller must read some of the bytes that it was sent
LAST_WORDS = 1.0  # seconds in which a caller that sends nothing must read its last answer
LONGEST_LINGER = 30.0  # seconds in which a caller may first send the rest of its request body
BEGINNING = b"HTTP/1.1 "  # the first bytes of every response


class Timed(Intake):
    """A connection with time limits for its head, its body, its response, and idleness. `check`, called about every
    second, ends it if nothing has moved for too long. A subclass defines `refuse` and `end_broken_body`."""

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
        """Whether it has had its last answer; further bytes of its caller are dropped."""
        self.steps = 0
        """The number of responses so far."""
        self.linger_end = math.inf
        """The instant after which it is aborted, once its last answer is sent."""
        self.is_half_closed = False
        """Whether the caller has closed its sending half, and waits for an answer."""
        self.has_begun = False
        """Whether BEGINNING was written early, before the rest of its answer."""
        self._seen: tuple[object, ...] = ()
        self.seen_at = time.monotonic()
        """The instant at which `check` last saw progress."""

    def write(self, data: bytes) -> None:
        """Write to the caller, but not BEGINNING again if it was written early."""
        if self.has_begun:
            self.has_begun = False
            data = data[len(BEGINNING) :]
        self.transport.write(data)

    def begin_answer(self) -> None:
        """Write BEGINNING early, unless the answer has begun or earlier bytes still wait."""
        if not (self.has_begun or self.cycle.response_started or self.transport.get_write_buffer_size()):
            self.transport.write(BEGINNING)
            self.has_begun = True

    def note_unread(self, size: int) -> None:
        """Note that `size` more bytes are about to be written. They count if the caller has not read earlier ones."""
        if self.flow.write_paused:
            self.bounds.unread.note(self, self.transport.get_write_buffer_size() + size)

    def pause_writing(self) -> None:
        """Count the bytes that wait: the caller is slow to read them."""
        super().pause_writing()
        self.bounds.unread.note(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Count no more bytes: the caller has read most of them."""
        super().resume_writing()
        self.bounds.unread.note(self, 0)

    def limit_linger(self) -> None:
        """Limit the time that the connection has for its last answer."""
        self.seen_at = time.monotonic()
        self.linger_end = self.seen_at + (LONGEST_LINGER if self.phase == BODY else LAST_WORDS)

    def leave(self) -> None:
        """Make room for another connection."""
        if self.is_idle:
            self.transport.close()
        else:
            self.transport.abort()

    def cut_off(self) -> None:
        """Abort the connection, with the bytes that its caller has not read."""
        self.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        is_open = not (self.lingers or self.has_rest or self.transport.is_closing())
        return is_open and self.phase == IDLE and not self.is_in_flight

    @property
    def is_answered(self) -> bool:
        """Whether the caller has its answer, but still sends the body of the request."""
        return self.phase == BODY and not (self.is_in_flight or self.transport.is_closing())

    def check(self, now: float) -> None:
        """End the connection if its caller has gone, and the connection or its request if nothing moved for too long.
        `now` is an instant of `time.monotonic`."""
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
        """Whether the caller has gone. For a connection whose bytes nobody reads now."""
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

    # A subclass defines these.

    def refuse(self, error: GatewayError) -> None:
        """Answer with the error, and close. No request may be in flight."""
        raise NotImplementedError

    def end_broken_body(self, error: GatewayError) -> None:
        """End the request in flight, whose body does not come to its end."""
        raise NotImplementedError
