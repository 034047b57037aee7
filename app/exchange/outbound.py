"""What becomes of a request: it goes to NATS, or waits for a policy, or its answer is a stream. No I/O."""

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from ..edge.policy import AsyncCheck, Policy
from ..edge.proxies import Proxies
from ..edge.request import Request
from ..errors import CLOSE, MAX_FACT, GatewayError, NoResponders, Overloaded, PayloadTooLarge, PermissionDenied, Timeout
from ..formats.fields import Pair
from ..formats.units import format_duration
from ..routing.routes import Route
from .origin import write_origin
from .plans import Plan
from .request_fields import add_fields, add_time_left
from .responses import Response

_OF_SUBJECT = (NoResponders, PermissionDenied)


@dataclass(slots=True)
class Outbound:
    """A request on its way to NATS. `deadline` is an instant, `timeout` the seconds it stands for. Where `max_body` is
    not None the lane reads the request body, of at most that many bytes, and has it loaded. `sent_at` is the instant at
    which it was sent; the lane sets it where that is later than the request was received."""

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
        """The name of the link that it goes by."""
        return self.plan.link

    def tell_facts(self, proxies: Proxies) -> None:
        """For a service that learns from headers of this request who calls, or the time that is left."""
        plan, request = self.plan, self.request
        if plan.origin_names:
            root = proxies.find_root(request.caller, request.headers)
            if origin := write_origin(plan.origin_names, request, root):
                self.headers = add_fields(self.headers, origin)
        if plan.timeout_header is not None:
            self.headers = add_time_left(self.headers, plan.timeout_header, self.deadline - time.monotonic())

    def explain(self, error: GatewayError) -> GatewayError:
        """What a failure means for this request."""
        if isinstance(error, _OF_SUBJECT):
            error.facts = (("subject", self.subject[:MAX_FACT]),)
        if isinstance(error, Timeout) and error.delivered == "unknown":
            return Timeout(f"The service did not reply within {format_duration(self.timeout)}.")
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request whose policy has to wait. The lane awaits `wait()` until `deadline`, and then calls `Relay.resume`."""

    wait: AsyncCheck
    deadline: float
    request: Request
    plan: Plan
    segments: Sequence[bytes]
    fields: Sequence[Pair]
    request_id: str
    policies: Iterator[Policy]
    """Those that are not asked yet."""

    @property
    def route(self) -> Route:
        return self.plan.route


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """A response whose body comes in parts. The lane sends the head of `response`, whose own body is empty and whose
    length is None, and then the parts. It closes them at the end, and when the caller has left; that may show only
    after the next part."""

    response: Response
    parts: AsyncGenerator[bytes, None]


Begun = Outbound | Response | Waiting | Streaming | None


def body_too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {limit} bytes that this route accepts.")


def choose_max_body(plan: Plan, fields: Sequence[Pair]) -> int:
    """The bytes of a body that are read. Raises where its head shows that it can't be taken."""
    plan.route.body_rules.check_head(fields)
    for name, value in fields:
        if name == b"content-length" and value.isdigit() and (len(value) > 20 or int(value) > plan.max_body):
            raise body_too_large(plan.max_body)
    return plan.max_body


def no_memory() -> Overloaded:
    """For a body that there is no room for. Its rest is not waited for."""
    detail = "The gateway has as many bytes of request bodies in memory as it may have."
    return Overloaded(detail, headers=(*Overloaded.headers, CLOSE))


def is_unsent(error: GatewayError) -> bool:
    """Whether the request with this outcome never went to NATS."""
    return error.delivered == "no" and not isinstance(error, _OF_SUBJECT)
