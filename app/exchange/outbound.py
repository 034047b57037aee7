"""The states that a request can be in after its head was read: it goes to NATS (Outbound), waits for a policy
(Waiting), or is answered with a stream (Streaming). No I/O."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..edge.policy import AsyncCheck, Policy
from ..edge.proxies import Proxies
from ..edge.request import Request
from ..errors import CLOSE, MAX_FACT, GatewayError, NoResponders, Overloaded, PayloadTooLarge, PermissionDenied
from ..formats.fields import Pair
from ..routing.routes import Route
from .origin import write_origin
from .plans import Plan
from .request_fields import add_fields, add_time_left
from .responses import Response

_OF_SUBJECT = (NoResponders, PermissionDenied)


@dataclass(slots=True)
class Outbound:
    """A request on its way to NATS. `deadline` is an instant of `time.monotonic`, and `timeout` the seconds from the
    reception of the request to it. If `max_body` is not None, the lane reads the request body, of at most that many
    bytes, and calls `Relay.load`. `sent_at` is the instant at which the request was sent. The lane sets it if the
    request is not sent as soon as it was received; else it is 0."""

    request: Request
    plan: Plan
    request_id: str
    subject: str
    headers: bytes
    payload: bytes
    deadline: float
    timeout: float
    max_body: int | None
    prefers_text: bool
    sent_at: float = 0.0

    @property
    def route(self) -> Route:
        return self.plan.route

    @property
    def link(self) -> str:
        """The name of the link that sends the request."""
        return self.plan.link

    def add_facts(self, proxies: Proxies) -> None:
        """Add the headers that tell the service who calls and how much time is left, as far as the route lists them."""
        plan, request = self.plan, self.request
        if plan.origin_names:
            root = proxies.find_root(request.caller, request.headers)
            if origin := write_origin(plan.origin_names, request, root):
                self.headers = add_fields(self.headers, origin)
        if plan.timeout_header is not None:
            self.headers = add_time_left(self.headers, plan.timeout_header, self.deadline - time.monotonic())

    def explain(self, error: GatewayError) -> GatewayError:
        """The error with the facts of this request: the subject for the log, and what its kind of route says."""
        if isinstance(error, _OF_SUBJECT):
            error.facts = (("subject", self.subject[:MAX_FACT]),)
        explained = self.plan.replies.explain(error, self.request, self.timeout)
        explained.facts = explained.facts or error.facts
        return explained


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that must wait for a policy. The lane awaits `wait()`, at most until `deadline`, and then calls
    `Relay.resume`."""

    wait: AsyncCheck
    deadline: float
    request: Request
    plan: Plan
    segments: Sequence[bytes]
    fields: Sequence[Pair]
    request_id: str
    policies: Iterator[Policy]
    """The policies that have not been checked yet."""

    @property
    def route(self) -> Route:
        return self.plan.route


class Parts(Protocol):
    """The parts of a response. `aclose` ends them, also if they have not begun."""

    def __anext__(self) -> Awaitable[bytes]:
        """The next part. Raises StopAsyncIteration at the end."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """A response whose body comes in parts. The lane sends the head of `response`, whose own body is empty and whose
    length is None, and then the parts. It closes `parts` at the end, or when the caller has left. It may notice the
    latter only after the next part. `nudge` makes one come soon."""

    response: Response
    parts: Parts
    nudge: Callable[[], None] | None = None


Begun = Outbound | Response | Waiting | Streaming | None


def body_too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {limit} bytes that this route accepts.")


def choose_max_body(plan: Plan, fields: Sequence[Pair]) -> int:
    """The most bytes of a body that the lane reads. Raises a GatewayError if the head already shows that the body can't
    be accepted."""
    plan.route.body_rules.check_head(fields)
    for name, value in fields:
        if name == b"content-length" and value.isdigit() and (len(value) > 20 or int(value) > plan.max_body):
            raise body_too_large(plan.max_body)
    return plan.max_body


def no_memory() -> Overloaded:
    """The error for a body that there is no memory for. It closes the connection, so nobody waits for the rest of the
    body."""
    detail = "The gateway has too many bytes of request bodies in memory."
    return Overloaded(detail, headers=(*Overloaded.headers, CLOSE))


def is_unsent(error: GatewayError) -> bool:
    """Whether a request that ended with this error was never sent to NATS."""
    return error.delivered == "no" and not isinstance(error, _OF_SUBJECT)
