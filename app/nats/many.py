"""A request with many replies (ADR-47 of NATS). Its token stays in the map of requests in flight until the end, so no
subscription is made for it. No I/O.

Laws:
1. It ends once: at its deadline, after `most` replies, after `stall` seconds without a further reply, at an empty reply
   (if that ends it), when its replies are larger than `room` together, or when the connection is lost.
2. A reply after the end goes to nobody.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from ..errors import GatewayError, NoResponders, Timeout
from ..formats.messages import Reply
from .in_flight import InFlight, Outcome
from .shares import Share

Ended = Literal["max", "within", "stall", "end", "disconnect"]
"""What ended the replies: `max` for their number or their size, `within` for the deadline, `end` for an empty reply."""


class Room:
    """The memory for the replies of all such requests, in bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """Whether there was room for so many bytes. They are given back by `give_back`."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        self.left += size


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds on the replies: their number, the seconds after the last one, and their bytes together. With
    `ends_empty` an empty reply is the end."""

    most: int
    stall: float
    max_bytes: int
    ends_empty: bool


class ManyReplies(InFlight):
    """Collects replies for one consumer. `ended` is set at the end. If no reply has come, `error` says why."""

    def __init__(self, bounds: Bounds, room: Room, *, share: Share, peer: str | None, deadline: float) -> None:
        self.share = share
        self.ended: Ended | None = None
        self.error: GatewayError | None = None
        self.count = 0
        """The number of replies so far."""
        self._peer = peer
        self._bounds = bounds
        self._room = room
        self.deadline = deadline
        self._replies: list[Reply] = []
        self._kept = 0
        self._more: asyncio.Future[None] | None = None

    @property
    def peer(self) -> str | None:
        return self._peer

    def more(self) -> asyncio.Future[None]:
        """A future that is done once there are replies that were not taken, or the end has come."""
        self._more = asyncio.get_running_loop().create_future()
        self._wake()
        return self._more

    def take_replies(self) -> list[Reply]:
        """The replies that have come since the last call, in their order. They keep their memory until `abandon`."""
        replies, self._replies = self._replies, []
        return replies

    def take(self, outcome: Outcome) -> None:
        """Keep a reply, and go on or end."""
        if not isinstance(outcome, Reply):
            self._end_by(outcome)
        elif self._bounds.ends_empty and _is_end(outcome):
            self._end("end")
        else:
            self._keep(outcome)

    def _keep(self, reply: Reply) -> None:
        size = len(reply.headers) + len(reply.payload)
        if self._kept + size > self._bounds.max_bytes or not self._room.take(size):
            return self._end("max")
        self._kept += size
        self._replies.append(reply)
        self.count += 1
        if self.count >= self._bounds.most:
            return self._end("max")
        self._go_on()
        return self._wake()

    def _go_on(self) -> None:
        if self.in_flight is not None:
            self.in_flight.take_back(self, min(self.deadline, time.monotonic() + self._bounds.stall))

    def _end_by(self, error: GatewayError) -> None:
        if isinstance(error, NoResponders) and self.count:
            return self._go_on()  # a service has written this: the server says it first, or never
        if not self.count:
            self.error = error
        if isinstance(error, Timeout):
            return self._end("within" if time.monotonic() >= self.deadline else "stall")
        return self._end("disconnect")

    def _end(self, ended: Ended) -> None:
        self.ended = ended
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done() and (self._replies or self.ended):
            self._more.set_result(None)

    def abandon(self) -> None:
        """Forget the request and its replies, since nobody waits for them any more. If somebody does, that is the end.
        Idempotent."""
        super().abandon()
        self._replies = []
        self._end(self.ended or "disconnect")
        self._room.give_back(self._kept)
        self._kept = 0


def _is_end(reply: Reply) -> bool:
    """Whether a reply is the end: it has no payload. The error of a service often has none either (ADR-32)."""
    return not reply.payload and b"nats-service-error" not in reply.headers.lower()
