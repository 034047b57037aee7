"""A request that many services may answer. Its token stays in the map of requests in flight until the end. No I/O."""

import asyncio
import time
from dataclasses import dataclass

from ..errors import GatewayError, NoResponders, Timeout
from ..formats.messages import Reply
from .in_flight import InFlight, Outcome
from .shares import Share

MAX_GATHERED = 16 * 1024 * 1024  # bytes of replies that are kept for one request
MAX_GATHERINGS = 4  # on one link at a time


@dataclass(frozen=True, slots=True)
class Gathered:
    """The replies in the order of their arrival. `cut` says that some may be missing, because there were too many, or
    because they were too large together. With an `error` the request ended early; `replies` has the replies that came
    before."""

    replies: tuple[Reply, ...] = ()
    cut: bool = False
    error: GatewayError | None = None


class Gathering(InFlight):
    """Collects replies until the first of these: `deadline`, an instant of `time.monotonic`; `most` messages have come;
    no message has come for `stall` seconds after the last one. `future` gets the result, and may be cancelled.

    "No responders" does not end the request: it counts as a message without content. A service could write the same
    text, and must not be able to hide the others.
    """

    def __init__(self, share: Share, deadline: float, *, stall: float, most: int) -> None:
        self.share = share
        self.future: asyncio.Future[Gathered] = asyncio.get_running_loop().create_future()
        self._deadline = deadline
        self._stall = stall
        self._left = most
        self._room = MAX_GATHERED
        self._replies: list[Reply] = []
        self._cut = False

    def take(self, outcome: Outcome) -> None:
        """Keep a reply, and go on or end. Any error except NoResponders ends the request."""
        if isinstance(outcome, Reply):
            self._keep(outcome)
        elif not isinstance(outcome, NoResponders):
            return self._end(None if isinstance(outcome, Timeout) else outcome)
        self._left -= 1
        if self._left > 0 and self.in_flight is not None:
            return self.in_flight.take_back(self, min(self._deadline, time.monotonic() + self._stall))
        self._cut = True
        return self._end(None)

    def _keep(self, reply: Reply) -> None:
        """A reply that does not fit is left out: a smaller one may still come."""
        size = len(reply.headers) + len(reply.payload)
        if size > self._room:
            self._cut = True
        else:
            self._room -= size
            self._replies.append(reply)

    def _end(self, error: GatewayError | None) -> None:
        if not self.future.done():
            self.future.set_result(Gathered(tuple(self._replies), self._cut, error))
