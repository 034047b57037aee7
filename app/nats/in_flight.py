"""The requests in flight: their number is limited, and each ends exactly once. No I/O.

Laws (numbered as in the link):
1. Every request ends exactly once: by `settle` or by `forget`. A request that waits for further replies continues with
   `take_back`.
9. No entry outlives its request; every count is 0 when nothing is in flight.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

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
    """A request in flight. A subclass defines `take`, which is called once with the outcome, unless the request is
    abandoned first. It sets `share`, which counts the request. With `wants_written` it also defines `written`. That is
    called once, before or after `take`, when this process no longer keeps headers and payload: the kernel has them, or
    they are never sent. `take` and `written` may not block or raise."""

    wants_written = False
    is_published = False
    """Whether nobody replies. The outcome is then the echo of the server, which has taken the message."""
    share: Share

    # These are set when the request is sent.
    in_flight: "InFlightMap | None" = None
    token: bytes
    subject: str
    connection: Connection
    timer: set[Wait]

    @property
    def peer(self) -> str | None:
        """The address of the caller, if there is one."""
        return None

    def take(self, outcome: Outcome) -> None:
        raise NotImplementedError

    def written(self) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        """Forget the request, since nobody waits for it any more. The service may still run."""
        if self.in_flight is not None:
            self.in_flight.forget(self.token)

    def expire(self) -> None:
        """End the request at its deadline (law 1 of the link)."""
        if self.in_flight is not None:
            was_held = self.connection.outgoing.withdraw(self.token)
            self.in_flight.settle(self.token, Overloaded(TOO_SLOW) if was_held else Timeout())


class InFlightFuture(InFlight):
    """A request whose outcome is the result of `future`, even if it is an error. The future may be cancelled."""

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


class Sender(Protocol):
    """Sends requests."""

    def send(self, sent: InFlight, subject: str, headers: bytes, payload: bytes, deadline: float) -> None:
        """Send a request now, or refuse it now. If it is refused, `sent.take` is called before this returns. `headers`
        is a header block, or empty. `deadline` is an instant of `time.monotonic`."""


class InFlightMap:
    """The requests in flight, by token. It admits at most `maximum` requests, at most `max_per_caller` of one peer
    address (None means no such limit), and of one route as many as its share allows. For a request of the gateway's own
    the sender raises `maximum` by 1 meanwhile. `unclaimed` is called with the token of each outcome that belongs to no
    request in flight."""

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
        """The requests in the order in which they were sent."""
        return iter(self._sent.values())

    def __reversed__(self) -> Iterator[InFlight]:
        return reversed(self._sent.values())

    def begin(self, sent: InFlight, subject: str, connection: Connection, deadline: float) -> Overloaded | None:
        """Admit a request until it ends, and give it its token. Returns an Overloaded if it is not admitted."""
        free, share = self.maximum - len(self._sent), sent.share
        count = share.count
        is_tight = free <= count + 1 or count >= share.most  # else there is certainly room
        if is_tight and (overload := _find_overload(share, free)):
            return overload
        if self._callers is not None:
            if not self._callers.has_room(sent.peer):
                return Overloaded("Your address has too many requests in flight.")
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
        """End a request if it is still in flight, and give it its outcome."""
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
        except Exception:  # a bug in `take` must not end the connection, or affect other requests
            _log.exception("outcome-not-taken")

    def take_back(self, sent: InFlight, deadline: float) -> None:
        """Continue a request that waits for more than one reply, with the same token, until `deadline`. Only `take` of
        the request calls this."""
        sent.subject = ""  # the server has let it through: a later denial is for another request
        sent.share.count += 1
        if self._callers is not None:
            self._callers.begin(sent.peer)
        sent.timer = self._deadlines.add(deadline, sent)
        self._sent[sent.token] = sent

    def forget(self, token: bytes) -> None:
        """End a request, if it is still in flight, without an outcome. If it is still held, it is never sent."""
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
    return Overloaded(f"{who} has too many requests in flight.")
