"""Makes the plan of each route: all facts about it that do not depend on a request. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ..edge.cors import Cors
from ..edge.policy import Policy
from ..edge.request import BODY_METHODS
from ..edge.signature import Signature
from ..formats.fields import Pair
from ..formats.units import format_duration, format_size
from ..nats.shares import Share, choose_share
from ..observe.trace_context import Names, choose_names
from ..routing.kinds import Gather, Publish, RequestReply, Store
from ..routing.routes import Route
from ..routing.table import RouteTable
from ..routing.words import WITH_BODY, Payload
from ..settings import Settings
from .kinds import WriteOwn, choose_special
from .many import ElementWriter
from .origin import list_origin_names
from .replies import Reader
from .request_fields import (
    choose_relevant,
    choose_travelling,
    choose_unheeded,
    encode_sent,
    find_place,
    find_timeout_header,
    sends_request_id,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the settings. They bound the limits of routes, and are the defaults of routes without their own.
    Durations are in seconds, sizes in bytes."""

    timeout: float
    max_timeout: float
    max_body: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(timeout=settings.timeout, max_timeout=settings.max_timeout, max_body=settings.max_body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A route with everything that can be computed before its first request. Durations are in seconds, sizes in bytes.

    - `cors` and `signature` are among the policies, or None.
    - `relevant` has the names of the request headers that the relay reads, `asked` those that the policies read.
    - `unheeded` names those of `relevant` that do not change how the request is sent, nor do the whole fields `idle`.
      `travelling` names those that only become headers for the service.
    - `adds_headers`: parameters travel as headers, or what `write_own` returns differs between requests.
    - `write_own` returns the headers that the gateway itself writes for a request and its subject: facts about the
      caller, and what a stream must check. None if there are no such headers.
    - `is_stream`: the answer may be a stream, which only the ASGI lane can send.
    - `elements` writes the replies of a route that has many of them to one request; None for other routes.
    - `link` is the name of what sends the requests, and `replies` reads their outcomes.
    - `payloads` says what each method sends. A body with one of the methods `refuses_body` is refused, since it would
      be dropped silently.
    - `sent` is the header block of a request without headers that travel. If `sends_id`, it ends before the value of
      its last header, which is the request id. Headers that travel are added at `place`.
    - `trace_names` are the names of the trace headers for the service, and `may_send_trace` says that `sent` or the
      headers that travel may have one of them.
    - `adds_facts`: the service gets the time that is left in `timeout_header`, or the headers of `origin_names`, which
      say who calls."""

    route: Route
    link: str
    policies: tuple[Policy, ...]
    cors: Cors | None
    relevant: frozenset[bytes]
    asked: frozenset[bytes]
    unheeded: frozenset[bytes]
    idle: frozenset[Pair]
    travelling: Mapping[bytes, bytes]
    adds_headers: bool
    payloads: Mapping[str, Payload]
    refuses_body: frozenset[str]
    sent: bytes
    sends_id: bool
    place: int
    trace_names: Names
    may_send_trace: bool
    adds_facts: bool
    timeout_header: bytes | None
    origin_names: tuple[Pair, ...]
    wraps: bool
    timeout: float
    max_timeout: float
    max_body: int
    replies: Reader
    write_own: WriteOwn | None
    signature: Signature | None
    elements: ElementWriter | None
    is_stream: bool
    share: Share


Plans = dict[Route, Plan]


def make_plan(route: Route, limits: Limits, *, is_alone: bool, before: Plan | None) -> Plan:
    """Make the plan of a route. `is_alone` says that there is no other route. `before` is the plan of the route of this
    name before a reload. Its requests in flight still count, and equal policies keep their state."""
    special = choose_special(route)
    unheeded, idle = choose_unheeded(route)
    sent = encode_sent(route, special.constant)
    timeout_header, origin_names = find_timeout_header(route), list_origin_names(route.request_allow)
    max_timeout = limits.max_timeout if route.max_timeout is None else min(route.max_timeout, limits.max_timeout)
    return Plan(
        route=route,
        link=special.link,
        policies=_keep_policies(route.policies, before.policies if before else ()),
        cors=next((policy for policy in route.policies if isinstance(policy, Cors)), None),
        relevant=choose_relevant(route) | special.fields,
        asked=frozenset[bytes]().union(*(policy.fields for policy in route.policies)),
        unheeded=unheeded - special.fields,
        idle=idle,
        travelling=choose_travelling(route),
        adds_headers=bool(route.by_header or special.differs),
        payloads={method: route.choose_payload(method) for method in (*route.methods, "HEAD")},
        refuses_body=BODY_METHODS - {method for method in route.methods if route.choose_payload(method) in WITH_BODY},
        timeout=min(limits.timeout if route.timeout is None else route.timeout, max_timeout),
        max_timeout=max_timeout,
        max_body=_choose_limit(route, limits.max_body),
        sent=sent,
        place=find_place(sent),
        sends_id=sends_request_id(route),
        trace_names=choose_names(route.request_allow),
        may_send_trace=bool(route.send_headers or route.by_header or route.renamed),
        adds_facts=timeout_header is not None or bool(origin_names),
        timeout_header=timeout_header,
        origin_names=origin_names,
        wraps=route.reply.wrap is not None,
        replies=special.replies,
        write_own=special.write_own,
        signature=route.signature,
        is_stream=not isinstance(route.kind, RequestReply | Publish | Store),
        elements=ElementWriter(route, route.kind) if isinstance(route.kind, Gather) else None,
        share=choose_share(route.max_in_flight, is_alone=is_alone, before=before.share if before else None),
    )


def find_lowered(table: RouteTable, limits: Limits) -> Iterator[str]:
    """One line for each limit of a route that exceeds the limit of the gateway. The limit of the gateway counts."""
    longest, largest = format_duration(limits.max_timeout), format_size(limits.max_body)
    for route in table.routes:
        for key, asked in (("timeout", route.timeout), ("max_timeout", route.max_timeout)):
            if asked is not None and asked > limits.max_timeout:
                shown = f"{key} {format_duration(asked)}"
                yield f"route '{route.name}': {shown} is over GATEWAY_MAX_TIMEOUT, so {longest} applies"
        if route.max_body is not None and route.max_body > limits.max_body:
            shown = f"max_body {format_size(route.max_body)}"
            yield f"route '{route.name}': {shown} is over GATEWAY_MAX_BODY, so {largest} applies"


def _keep_policies(policies: Sequence[Policy], before: Sequence[Policy]) -> tuple[Policy, ...]:
    """The policies of a route. An old policy replaces an equal new one, so that it keeps its state."""
    return tuple(next((old for old in before if old == policy), policy) for policy in policies)


def _choose_limit(route: Route, most: int) -> int:
    limit = route.body_rules.max_body if route.max_body is None else route.max_body
    return most if limit is None else min(limit, most)
