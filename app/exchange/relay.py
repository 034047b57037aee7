"""The heart: from an HTTP request to a NATS request, and from its outcome to an HTTP response.

No I/O and no awaiting, in the manner of h11. A lane calls, in this order,

    begin(request)            -> Outbound, or a Response at once, or None: no route has this path
    load(outbound, body)      -> None, or the Response to a body that breaks its rules, or a Check: what the checker
                                 is to do with a body that takes long
    load_checked(outbound, check, verdict) -> None or a Response, after that
    refuse(outbound, error)   -> Response, when the body can't be had
    finish(outbound, outcome) -> Response, for a Reply or a GatewayError

and none of them raises, but for a bug, which `fail` turns into a Response. All policy lives here once, for
every lane: matching, parameters, allow-lists, limits, status and error mapping, request id, timing.
"""

import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import CLOSE, Delivered, GatewayError, Internal, MethodNotAllowed, Overloaded, PayloadTooLarge, Timeout
from ..formats.fields import Pair, is_clean_request_id
from ..formats.messages import Reply
from ..formats.units import format_duration
from ..nats.shares import Share, choose_share
from ..observe.record import Observers, Record
from ..routing.bodies import Check
from ..routing.parameters import Value
from ..routing.routes import Payload, Route
from ..routing.table import EVERY_METHOD, RouteTable
from .problems import build_problem_response
from .replies import ReplyReader
from .request_fields import choose_relevant, choose_timeout, encode_headers, is_text_preferred
from .responses import Fields, Response, complete, encode_json


@dataclass(slots=True)
class Request:
    """The head of an HTTP request. `path` is raw: still percent-encoded, without the query; header names are in lower
    case; `received` is the instant (of `time.monotonic`) when it had arrived; `peer` is the caller's address."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[Pair]
    received: float
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a route means under the limits of this gateway, worked out once. `relevant` are the names of the request
    headers that the relay looks at; `payloads` has what each method sends; the rest is in seconds and bytes."""

    route: Route
    relevant: frozenset[bytes]
    payloads: Mapping[str, Payload]
    wraps: bool
    timeout: float
    max_timeout: float
    max_body: int
    replies: ReplyReader
    share: Share


Plans = dict[Route, _Plan]


@dataclass(slots=True)
class Outbound:
    """A request on its way to NATS. `deadline` is an instant, `timeout` the seconds it stands for. Where `max_body` is
    not None the lane reads the request body, of at most that many bytes, and has it loaded."""

    request: Request
    plan: _Plan
    request_id: str
    subject: str
    headers: bytes
    payload: bytes
    deadline: float
    timeout: float
    max_body: int | None
    prefers_text: bool

    @property
    def route(self) -> Route:
        return self.plan.route


class Relay:
    """The rules of one route table at a time. Durations are seconds, sizes bytes."""

    def __init__(
        self, table: RouteTable, *, timeout: float, max_timeout: float, max_body: int, observers: Observers
    ) -> None:
        self._timeout = timeout
        self._max_timeout = max_timeout
        self._max_body = max_body
        self._observers = observers
        self._id_prefix = f"{secrets.token_hex(6)}-"
        self._id_counter = itertools.count(1)
        self._plans: Plans = {}
        self._shares: dict[str, Share] = {}
        is_alone = len(table.routes) == 1
        self.use(table, {route: self.plan(route, is_alone=is_alone) for route in table.routes})

    def use(self, table: RouteTable, plans: Plans) -> Plans:
        """Go by this table, whose routes `plans` has all, from the next request on; what has begun finishes by the one
        that it began with. The plans before come back: to let go of them takes a time that grows with their number."""
        self._shares = {route.name: plan.share for route, plan in plans.items()}
        self._table = table
        before, self._plans = self._plans, plans
        return before

    def begin(self, request: Request) -> Outbound | Response | None:
        """What to send, or the answer where there is nothing to send; None where no route has this path."""
        match = self._table.match(request.method, request.path)
        if match is None:
            return self._begin_unmatched(request)
        route, segments = match
        plan = self._plans[route]
        relevant = plan.relevant
        fields = [pair for pair in request.headers if pair[0] in relevant]
        request_id = self._choose_request_id(fields)
        try:
            tokens, values = route.reader.read(segments, request.query, fields)
            payload = plan.payloads[request.method]
            timeout, headers, prefers_text = plan.timeout, b"", False
            if fields:
                timeout = choose_timeout(fields, plan.timeout, plan.max_timeout)
                headers = encode_headers(route, fields, request_id)
                prefers_text = plan.wraps and is_text_preferred(fields)
            return Outbound(  # by position: by name it would cost twice as much
                request,
                plan,
                request_id,
                route.subject_template.fill(tokens),
                headers,
                _encode_values(values) if payload == "params" else b"",
                request.received + timeout,
                timeout,
                _choose_max_body(plan, fields) if payload == "body" else None,
                prefers_text,
            )
        except GatewayError as error:
            return self._answer_problem(request, route, request_id, error)

    def load(self, outbound: Outbound, body: bytes) -> Response | Check | None:
        """Make the body the payload; the answer where it breaks the route's rules; a Check where it would take too long
        to find out."""
        try:
            check = outbound.route.body_rules.check_body(body)
        except GatewayError as error:
            return self.refuse(outbound, error)
        if check is None:
            outbound.payload = body
        return check

    def load_checked(self, outbound: Outbound, check: Check, verdict: GatewayError | None) -> Response | None:
        """Make the body of a check the payload; the answer where something was wrong with it."""
        if verdict is not None:
            return self.refuse(outbound, verdict)
        outbound.payload = check.body
        return None

    def refuse(self, outbound: Outbound, error: GatewayError) -> Response:
        """The answer where nothing was sent."""
        return self._answer_problem(outbound.request, outbound.route, outbound.request_id, error)

    def finish(self, outbound: Outbound, outcome: Reply | GatewayError) -> Response:
        """The answer to a reply, or to a failure."""
        if isinstance(outcome, GatewayError):
            return self.refuse(outbound, _describe(outbound, outcome))
        try:
            response = outbound.plan.replies.read(outcome.headers, outcome.payload, prefers_text=outbound.prefers_text)
        except GatewayError as error:
            return self.refuse(outbound, error)
        if response.status >= 500 or self._observers.other:
            self._observe(outbound.request, outbound.route, response, "yes", outbound.request_id)
        return complete(response, outbound.request.method, outbound.request_id)

    def fail(self, request: Request) -> Response:
        """The answer where the gateway itself has a bug; the lane logs the exception."""
        fields = [pair for pair in request.headers if pair[0] == b"x-request-id"]
        return self._answer_problem(request, None, self._choose_request_id(fields), Internal())

    def _begin_unmatched(self, request: Request) -> Response | None:
        is_asterisk = request.path == b"*" and request.method == "OPTIONS"  # RFC 9110 §9.3.7: of the server as a whole
        allowed = EVERY_METHOD if is_asterisk else self._table.allowed(request.path)
        if not allowed:
            return None
        request_id = self._choose_request_id(request.headers)
        allow = ((b"allow", ", ".join(allowed).encode("ascii")),)
        if request.method != "OPTIONS":
            error = MethodNotAllowed(f"This path allows {', '.join(allowed)}.", headers=allow)
            return self._answer_problem(request, None, request_id, error)
        response = Response(204, Fields(allow), b"")
        self._observe(request, None, response, "no", request_id)
        return complete(response, request.method, request_id)

    def _choose_request_id(self, fields: Sequence[Pair]) -> str:
        if fields:
            for name, value in fields:
                if name == b"x-request-id" and is_clean_request_id(value):
                    return value.decode("ascii")
        return f"{self._id_prefix}{next(self._id_counter)}"

    def plan(self, route: Route, *, is_alone: bool) -> _Plan:
        """What `use` needs of each route."""
        max_timeout = self._max_timeout if route.max_timeout is None else min(route.max_timeout, self._max_timeout)
        return _Plan(
            route=route,
            relevant=choose_relevant(route),
            payloads={method: route.choose_payload(method) for method in (*route.methods, "HEAD")},
            timeout=min(self._timeout if route.timeout is None else route.timeout, max_timeout),
            max_timeout=max_timeout,
            max_body=_choose_limit(route, self._max_body),
            wraps=route.reply.wrap is not None,
            replies=ReplyReader(route),
            share=choose_share(route.max_in_flight, is_alone=is_alone, before=self._shares.get(route.name)),
        )

    def _answer_problem(self, request: Request, route: Route | None, request_id: str, error: GatewayError) -> Response:
        response = build_problem_response(error, instance=request.path.decode("latin-1"), request_id=request_id)
        self._observe(request, route, response, error.delivered, request_id)
        return complete(response, request.method, request_id)

    def _observe(
        self, request: Request, route: Route | None, response: Response, delivered: Delivered, request_id: str
    ) -> None:
        observers = self._observers.failure if response.status >= 500 else self._observers.other
        if observers:
            duration = time.monotonic() - request.received
            name = route.name if route else None
            record = Record(name, request.method, response.status, response.slug, delivered, duration, request_id)
            for observer in observers:
                observer(record)


def _choose_limit(route: Route, most: int) -> int:
    limit = route.body_rules.max_body if route.max_body is None else route.max_body
    return most if limit is None else min(limit, most)


def _choose_max_body(plan: _Plan, fields: Sequence[Pair]) -> int:
    plan.route.body_rules.check_head(fields)
    for name, value in fields:
        if name == b"content-length" and value.isdigit() and (len(value) > 20 or int(value) > plan.max_body):
            raise body_too_large(plan.max_body)
    return plan.max_body


def _encode_values(values: Mapping[str, Value]) -> bytes:
    return encode_json(values).encode("utf-8")


def body_too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {limit} bytes that this route accepts.")


def no_memory() -> Overloaded:
    """For a body that there is no room for. Its rest is not waited for."""
    detail = "The gateway has as many bytes of request bodies in memory as it may have."
    return Overloaded(detail, headers=(*Overloaded.headers, CLOSE))


def _describe(outbound: Outbound, error: GatewayError) -> GatewayError:
    if isinstance(error, Timeout) and error.delivered == "unknown":
        return Timeout(f"The service did not reply within {format_duration(outbound.timeout)}.")
    return error
