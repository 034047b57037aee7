"""The heart: from an HTTP request to a NATS request, and from its outcome to an HTTP response.

No I/O and no awaiting, in the manner of h11. A lane calls, in this order,

    begin(request)            -> Outbound, or a Response at once, or None: no route has this path
    load(outbound, body)      -> None, or the Response to a body that breaks its rules
    refuse(outbound, error)   -> Response, when the body can't be had
    finish(outbound, outcome) -> Response, for a Reply or a GatewayError

and none of the four raises, but for a bug, which `fail` turns into a Response. All policy lives here once, for
every lane: matching, parameters, allow-lists, limits, status and error mapping, request id, timing.
"""

import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.errors import (
    Delivered,
    GatewayError,
    HeadersTooLarge,
    Internal,
    InvalidParameter,
    MethodNotAllowed,
    PayloadTooLarge,
    Timeout,
)
from app.headers import (
    MAX_BLOCK,
    Pair,
    encode_block,
    is_clean_request_id,
    is_clean_value,
    nominated,
    prefers_plain_text,
)
from app.inbox import Reply
from app.observe import Exchange, Observers
from app.parameters import Value
from app.replies import ReplyReader
from app.responses import Fields, Response, build_problem_response, complete, encode_json
from app.routes import Payload, Route
from app.shares import Share, share_out
from app.table import RouteTable
from app.units import format_duration, parse_duration

_HEEDED = frozenset((b"x-request-id", b"x-request-timeout", b"accept", b"content-length", b"connection"))
_HEEDED_OF_BODIES = frozenset((b"content-type", b"content-encoding", b"transfer-encoding"))


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
    """What a route comes to under the limits of this gateway, worked out once. `heeded` are the names of the request's
    headers that have a say; `payloads` has what each method sends; the rest is in seconds and bytes."""

    route: Route
    heeded: frozenset[bytes]
    payloads: Mapping[str, Payload]
    wraps: bool
    timeout: float
    max_timeout: float
    max_body: int
    replies: ReplyReader
    share: Share


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
        self._shares: Mapping[str, Share] = {}
        self.use(table)

    def use(self, table: RouteTable) -> None:
        """Go by this table from the next request on; what has begun finishes by the one that it began with."""
        self._shares = share_out({route.name: route.max_in_flight for route in table.routes}, before=self._shares)
        self._plans = {route: self._plan(route) for route in table.routes}
        self._table = table

    def begin(self, request: Request) -> Outbound | Response | None:
        """What to send, or the answer where there is nothing to send; None where no route has this path."""
        match = self._table.match(request.method, request.path)
        if match is None:
            return self._begin_unmatched(request)
        route, segments = match
        plan = self._plans[route]
        heeded = plan.heeded
        fields = [pair for pair in request.headers if pair[0] in heeded]
        request_id = self._choose_request_id(fields)
        try:
            tokens, values = route.reader.read(segments, request.query, fields)
            payload = plan.payloads[request.method]
            timeout, headers, prefers_text = plan.timeout, b"", False
            if fields:
                timeout = _choose_timeout(plan, fields)
                headers = _encode_headers(route, fields, request_id)
                prefers_text = plan.wraps and _prefers_text(fields)
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

    def load(self, outbound: Outbound, body: bytes) -> Response | None:
        """Make the body the payload; the answer where it breaks the route's rules."""
        try:
            outbound.route.body_rules.check_body(body)
        except GatewayError as error:
            return self.refuse(outbound, error)
        outbound.payload = body
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
        allowed = self._table.allowed(request.path)
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

    def _plan(self, route: Route) -> _Plan:
        max_timeout = self._max_timeout if route.max_timeout is None else min(route.max_timeout, self._max_timeout)
        return _Plan(
            route=route,
            heeded=_choose_heeded(route),
            payloads={method: route.choose_payload(method) for method in (*route.methods, "HEAD")},
            timeout=min(self._timeout if route.timeout is None else route.timeout, max_timeout),
            max_timeout=max_timeout,
            max_body=self._max_body if route.max_body is None else min(route.max_body, self._max_body),
            wraps=route.reply.wrap is not None,
            replies=ReplyReader(route),
            share=self._shares[route.name],
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
            exchange = Exchange(name, request.method, response.status, response.slug, delivered, duration, request_id)
            for observer in observers:
                observer(exchange)


def _choose_timeout(plan: _Plan, fields: Sequence[Pair]) -> float:
    asked = [value for name, value in fields if name == b"x-request-timeout"]
    if not asked:
        return plan.timeout
    if len(asked) > 1:
        raise InvalidParameter("Header X-Request-Timeout stands in the request more than once.")
    try:
        return min(parse_duration(asked[0].decode("latin-1")), plan.max_timeout)
    except ValueError as error:
        raise InvalidParameter(f"Header X-Request-Timeout is not a duration: {error}.") from None


def _choose_max_body(plan: _Plan, fields: Sequence[Pair]) -> int:
    plan.route.body_rules.check_head(fields)
    for name, value in fields:
        if name == b"content-length" and value.isdigit() and (len(value) > 20 or int(value) > plan.max_body):
            raise body_too_large(plan.max_body)
    return plan.max_body


def _choose_heeded(route: Route) -> frozenset[bytes]:
    names = _HEEDED | route.request_allow.names | route.reader.header_names
    return names | _HEEDED_OF_BODIES if "body" in map(route.choose_payload, route.methods) else names


def _encode_values(values: Mapping[str, Value]) -> bytes:
    return encode_json(values).encode("utf-8")


def body_too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {limit} bytes that this route accepts.")


def _describe(outbound: Outbound, error: GatewayError) -> GatewayError:
    if isinstance(error, Timeout) and error.delivered == "unknown":
        return Timeout(f"The service did not reply within {format_duration(outbound.timeout)}.")
    return error


def _encode_headers(route: Route, fields: Sequence[Pair], request_id: str) -> bytes:
    allow = route.request_allow
    hop_by_hop = nominated(value for name, value in fields if name == b"connection")
    pairs: list[Pair] = []
    identified = False  # once, whatever the caller sends: the id that it is answered with
    for name, value in fields:
        if name not in allow.names or name in hop_by_hop:
            continue
        if name == b"x-request-id":
            identified = True
            continue
        if not is_clean_value(value):
            raise InvalidParameter(f"Header {name.decode('latin-1')} has a control character.")
        pairs.append((allow.spell(name), value))
    if identified:
        pairs.append((allow.spell(b"x-request-id"), request_id.encode("ascii")))
    block = encode_block(pairs)
    if len(block) > MAX_BLOCK:
        raise HeadersTooLarge(f"The headers for the service have {len(block)} bytes; at most {MAX_BLOCK} may travel.")
    return block


def _prefers_text(fields: Sequence[Pair]) -> bool:
    return prefers_plain_text(b",".join(value for name, value in fields if name == b"accept"))
