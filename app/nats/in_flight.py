"""The requests in flight: how many there may be, and how each of them ends. No I/O.

Laws (those of the link that are kept here):
1. Every request ends exactly once: `settle` and `forget` are the only ways out. One that waits for further replies
   comes back with `take_back`.
9. No entry outlives its request; every count is 0 when nothing is in flight.
"""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from ..deadlines import Deadlines, Wait
from ..errors import GatewayError, Overloaded, Timeout
from ..formats.messages import Reply
from .connection import Connection
from .inbox import make_tokens
from .shares import Callers, Share

TOO_SLOW = "The NATS server reads too slowly."

_log = structlog.get_logger("nats-http.link")

Outcome = Reply | GatewayError


class InFlight:
    """A request in flight. Who sends one defines `take`, which gets the outcome once, unless the request is abandoned
    before, and sets `share`, which counts it. With `wants_written` there is a `written`, called once when this process
    no longer keeps headers and payload: the kernel has them, or they are never sent. That can be before `take`, and
    after it. Neither may block or raise."""

    wants_written = False
    share: Share

    # Set when it is sent.
    in_flight: "InFlightMap | None" = None
    token: bytes
    subject: str
    connection: Connection
    timer: set[Wait]

    @property
    def peer(self) -> str | None:
        """The address of the caller, where there is one."""
        return None

    def take(self, outcome: Outcome) -> None:
        raise NotImplementedError

    def written(self) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        """Nobody waits any more: forget the request. The service may run all the same."""
        if self.in_flight is not None:
            self.in_flight.forget(self.token)

    def expire(self) -> None:
        """Law 1 of the link: no later than its deadline."""
        if self.in_flight is not None:
            was_held = self.connection.outgoing.withdraw(self.token)
            self.in_flight.settle(self.token, Overloaded(TOO_SLOW) if was_held else Timeout())


class InFlightFuture(InFlight):
    """A request whose outcome, an error included, is the result of `future`; to cancel that is fine."""

    def __init__(self, share: Share | None = None, peer: str | None = None) -> None:
        self.share = share or Share()
        self._peer = peer
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def peer(self) -> str | None:
        return self._peer

    def take(self, outcome: Outcome) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


class InFlightMap:
    """At most `maximum` requests, and `max_per_caller` of one peer address where that is not None; of one route as many
    as its share says. Who sends a request of the gateway's own adds its place to `maximum` for that time. `unclaimed`
    gets the token of each reply that no request in flight has."""

    def __init__(
        self, maximum: int, max_per_caller: int | None, unclaimed: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self.maximum = maximum
        self._unclaimed = unclaimed
        self._callers = None if max_per_caller is None else Callers(max_per_caller)
        self._sent: dict[bytes, InFlight] = {}
        self._tokens = make_tokens()
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[InFlight]:
        """In the order in which they were sent."""
        return iter(self._sent.values())

    def __reversed__(self) -> Iterator[InFlight]:
        return reversed(self._sent.values())

    def begin(self, sent: InFlight, subject: str, connection: Connection, deadline: float) -> Overloaded | None:
        """Give the request its token, and take it in until it ends; or the reason why not."""
        free, share = self.maximum - len(self._sent), sent.share
        count = share.count
        is_tight = free <= count + 1 or count >= share.most  # else there is room, and no need of a closer look
        if is_tight and (overload := _find_overload(share, free)):
            return overload
        if self._callers is not None:
            if not self._callers.has_room(sent.peer):
                return Overloaded("Your address has as many requests in flight as it may have.")
            self._callers.begin(sent.peer)
        share.count = count + 1
        sent.in_flight = self
        sent.subject = subject
        sent.connection = connection
        sent.token = token = next(self._tokens)
        sent.timer = self._deadlines.add(deadline, sent)
        self._sent[token] = sent
        return None

    def settle(self, token: bytes, outcome: Outcome) -> None:
        """End a request, if it is still in flight, and tell whoever waits for it."""
        sent = self._sent.pop(token, None)
        if sent is None:
            self._unclaimed(token)
            return
        sent.timer.discard(sent)
        sent.share.count -= 1
        if self._callers is not None:
            self._callers.end(sent.peer)
        try:
            sent.take(outcome)
        except Exception:  # a bug of whoever waits: it may not end the connection, nor what else is settled
            _log.exception("outcome-not-taken")

    def take_back(self, sent: InFlight, deadline: float) -> None:
        """For `take` of a request that waits for more than one reply: it goes on under its token, until `deadline`."""
        sent.subject = ""  # it was let through, so no denial of a publish is of this one
        sent.share.count += 1
        if self._callers is not None:
            self._callers.begin(sent.peer)
        sent.timer = self._deadlines.add(deadline, sent)
        self._sent[sent.token] = sent

    def forget(self, token: bytes) -> None:
        """End a request, if it is still in flight, and tell nobody. One that is held is never sent."""
        sent = self._sent.pop(token, None)
        if sent is not None:
            sent.timer.discard(sent)
            sent.share.count -= 1
            if self._callers is not None:
                self._callers.end(sent.peer)
            sent.connection.outgoing.withdraw(token)


def _find_overload(share: Share, free: int) -> Overloaded | None:
    if free > 0 and not share.is_full(free):
        return None
    who = "This route" if free > 0 else "The gateway"
    return Overloaded(f"{who} has as many requests in flight as it may have.")
