"""The messages of one caller who stays."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from ..formats.messages import Reply

MAX_WAITING = 256  # messages of one caller that it has not taken yet
MAX_BYTES = 1024 * 1024  # of these

PACE = 0.002  # seconds after messages were taken within which others wait for more, so that they go out together
ENOUGH, ENOUGH_BYTES = 64, 64 * 1024  # messages, and bytes of them, that do not wait

End = Literal["slow", "permission-denied", "drain", "duration", "expired"]


class Writer(Protocol):
    """Writes messages in the form of a caller. Equal writers write the same."""

    def write(self, message: Reply, sequence: int | None = None) -> bytes:
        """Write a message, with its sequence in a stream if it has one. Raises UnicodeDecodeError for a payload that is
        not text."""

    def write_gap(self, facts: Mapping[str, object]) -> bytes: ...


Take = Callable[[bytes, bytes, Reply], None]
"""Takes a message, with its subject and its reply subject. It may not raise or block."""


class Feed:
    """The messages of one caller, as they are to be sent. `ended` is set when no more will come."""

    __slots__ = (
        "_can_resume",
        "_counts",
        "_more",
        "_taken_at",
        "_timer",
        "_waiting",
        "ended",
        "events",
        "is_nudged",
        "size",
        "writer",
    )

    def __init__(self, writer: Writer, counts: Counter[str], *, can_resume: bool = False) -> None:
        """With `can_resume` the end of a slow caller is not a gap, since it can go on where it was."""
        self.writer = writer
        self._can_resume = can_resume
        self._counts = counts
        self.ended: End | None = None
        self.events = 0
        """The number of messages so far."""
        self._waiting: list[bytes] = []
        self.size = 0
        """The bytes that wait to be taken."""
        self._more: asyncio.Future[None] | None = None
        self._taken_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_nudged = False
        """Whether the consumer is to go on at once when it next waits."""

    def put(self, event: bytes, counted_as: str = "events") -> bool:
        """Add a message. Returns False if there is no room for it: then the feed has ended. If nothing waits, there is
        room for any message."""
        if self.ended is not None:
            return False
        if self._waiting and (len(self._waiting) >= MAX_WAITING or self.size + len(event) > MAX_BYTES):
            self.end("slow", None if self._can_resume else {"cause": "slow"})
            return False
        self.events += 1
        self._counts[counted_as] += 1
        self._add(event)
        return True

    def note_gap(self, facts: Mapping[str, object]) -> None:
        """Say that messages may be missing here. There is always room for this."""
        self._counts[str(facts["cause"])] += 1
        self._add(self.writer.write_gap(facts))

    def end(self, reason: End, gap: Mapping[str, object] | None = None) -> None:
        """End the feed, after a gap if there is one. Idempotent."""
        if self.ended is None:
            if gap is not None:
                self.note_gap(gap)
            self.ended = reason
            self._wake()

    def _add(self, event: bytes) -> None:
        self._waiting.append(event)
        self.size += len(event)
        if self._more is not None:
            self._wake_in_time()

    def _wake_in_time(self) -> None:
        """Let the consumer go on, but at most every PACE seconds, unless enough waits: in a flood, handing over costs
        more than the messages themselves."""
        is_enough = len(self._waiting) >= ENOUGH or self.size >= ENOUGH_BYTES
        if self._timer is not None and not is_enough:
            return
        left = 0.0 if is_enough else self._taken_at + PACE - time.monotonic()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._wake)
        else:
            self._wake()

    def _wake(self) -> bool:
        """Let the consumer go on. Returns whether it waited."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._more is None or self._more.done():
            return False
        self._more.set_result(None)
        self._more = None
        return True

    def nudge(self) -> None:
        """Let the consumer go on now, or when it next waits, whether there is something to take or not."""
        self.is_nudged = not self._wake()

    def more(self) -> asyncio.Future[None]:
        """A future that is done once there is something to take, or the feed has ended."""
        more = self._more = asyncio.get_running_loop().create_future()
        if self.ended or self.is_nudged:
            self.is_nudged = False
            self._wake()
        elif self._waiting:
            self._wake_in_time()
        return more

    def take(self) -> bytes:
        """All that has come since the last call."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self.size = 0
        self._taken_at = time.monotonic()
        return taken
