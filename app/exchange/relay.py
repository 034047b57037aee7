"""The core of the gateway: turns an HTTP request into a NATS request, and its outcome into an HTTP response.

There is no I/O and no await, as in h11. A lane calls these methods in this order:

    begin(request)            -> Outbound, a Response, Waiting, Streaming, or None if no route has this path. A lane
                                 that can't wait or stream hands the request on
    resume(waiting, error)    -> the same, after the wait
    load(outbound, body)      -> None, a Response to a body that breaks its rules, or a Check: the checker must check a
                                 body that takes long
    load_checked(outbound, check, verdict) -> None or a Response, after this check
    refuse(outbound, error)   -> Response, if the body can't be read
    finish(outbound, outcome) -> Response to a Reply or a GatewayError. An Unchecked must be checked before it is sent
    finish_checked(outbound, response, verdict) -> Response, after this check
    finish_many(outbound, response) -> the Response to many replies, or the head of a stream of them
    not_found(request)        -> Response, if no page has this path either

They raise only if there is a bug; `fail` turns that into a Response. Every decision is made here, for all lanes:
matching, policies, parameters, allow-lists, limits, status and error mapping, request id, timing. The writer of a
Response calls `way_out`, which makes its record.
"""

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from ..edge.cors import Cors, read_preflight
from ..edge.policy import Policy
from ..edge.proxies import Proxies
from ..edge.request import Request
from ..errors import GatewayError, Internal, MethodNotAllowed, NotFound
from ..formats.clusters import MAIN
from ..formats.fields import Pair, RepeatedFields
from ..formats.html import PAGES
from ..formats.messages import Reply
from ..routing.bodies import Check, check_no_body, merge
from ..routing.routes import Route
from ..routing.table import EVERY_METHOD, RouteTable
from ..routing.words import WITH_BODY, WITH_PARAMETERS, Payload
from .outbound import Begun, Outbound, Waiting, choose_max_body, is_unsent
from .plans import Limits, Plan, Plans, make_plan
from .preflights import check_preflight
from .problems import build_problem_response
from .replies import check_reply, to_bad_reply
from .request_fields import (
    add_travelling,
    choose_timeout,
    encode_headers,
    encode_payload,
    find_accept,
    is_text_preferred,
)
from .request_ids import RequestIds
from .responses import Fields, Response, Unchecked, complete
from .way_out import WayOut

_NO_BODY: Mapping[Payload, str] = {"params": "it sends its parameters", "none": "it sends an empty message"}


class Relay:
    """The rules of one route table at a time."""

    def __init__(
        self,
        table: RouteTable,
        limits: Limits,
        way_out: WayOut,
        proxies: Proxies | None = None,
        *,
        cors: Cors | None = None,
        pages: Container[str] = PAGES,
        on_send: Sequence[Callable[[Outbound], None]] = (),
        on_answer: Sequence[Callable[[Response, Request, float | None], None]] = (),
    ) -> None:
        """`cors` is for answers without a route. `pages` are the paths that the page of a problem may link to. Each
        function of `on_send` is called with every complete request, right before it is sent. Each function of
        `on_answer` is called with every response of the relay, its request, and the seconds that it waited for NATS
        (None if it was not sent)."""
        self._limits = limits
        self._pages = pages
        self.proxies = proxies or Proxies()
        self.way_out = way_out
        self._on_send = on_send
        self._on_answer = on_answer
        self.choose_request_id = RequestIds().choose
        self._plans: Plans = {}
        self._by_name: dict[str, Plan] = {}
        is_alone = len(table.routes) == 1
        self.use(table, {route: self.plan(route, is_alone=is_alone) for route in table.routes}, cors)

    def use(self, table: RouteTable, plans: Plans, cors: Cors | None = None) -> Plans:
        """Use this table from the next request on. `plans` must have all its routes, and `cors` is for answers without
        a route. Requests that have begun finish with the old table. Returns the old plans, since it takes time to free
        many of them: the caller decides when."""
        self._by_name = {route.name: plan for route, plan in plans.items()}
        self._table, self._cors = table, cors
        before, self._plans = self._plans, plans
        return before

    def begin(self, request: Request) -> Begun:
        """Begin a request: see the top of this module. None if no route has this path."""
        match = self._table.match(request.method, request.path)
        if match is None:
            return self._begin_unmatched(request)
        route, segments = match
        plan = self._plans[route]
        headers = request.headers
        if headers.__class__ is RepeatedFields and headers.reader is plan:
            fields = headers.relevant
        else:
            relevant = plan.relevant
            fields = [pair for pair in headers if pair[0] in relevant]
            if headers.__class__ is RepeatedFields:
                headers.reader, headers.relevant = plan, fields
        request_id = self.choose_request_id(fields)
        if plan.policies:
            return self._ask(request, plan, segments, fields, request_id, iter(plan.policies))
        return self._translate(request, plan, segments, fields, request_id)

    def resume(self, waiting: Waiting, error: GatewayError | None) -> Begun:
        """Continue a request that has waited for a policy. With an error it is refused."""
        request, plan, request_id = waiting.request, waiting.plan, waiting.request_id
        if error is not None:
            return self._answer_problem(request, plan.route.name, request_id, error)
        return self._ask(request, plan, waiting.segments, waiting.fields, request_id, waiting.policies)

    def _ask(
        self,
        request: Request,
        plan: Plan,
        segments: Sequence[bytes],
        fields: Sequence[Pair],
        request_id: str,
        policies: Iterator[Policy],
    ) -> Begun:
        """Check the remaining policies."""
        try:
            for policy in policies:
                if wait := policy.check(request):
                    return Waiting(
                        wait=wait,
                        deadline=request.received + choose_timeout(fields, plan.timeout, plan.max_timeout),
                        request=request,
                        plan=plan,
                        segments=segments,
                        fields=fields,
                        request_id=request_id,
                        policies=policies,
                    )
        except GatewayError as error:
            return self._answer_problem(request, plan.route.name, request_id, error)
        return self._translate(request, plan, segments, fields, request_id)

    def _translate(
        self, request: Request, plan: Plan, segments: Sequence[bytes], fields: Sequence[Pair], request_id: str
    ) -> Outbound | Response:
        route = plan.route
        try:
            tokens, values = route.reader.read(segments, request.query, fields, request.identity)
            payload = plan.payloads[request.method]
            subject = route.subject_template.fill(tokens)
            timeout, prefers_text = plan.timeout, False
            if fields and request.method in plan.refuses_body:
                check_no_body(fields, _NO_BODY[payload])
            unheeded, idle = plan.unheeded, plan.idle
            heeded = [pair for pair in fields if pair[0] not in unheeded and pair not in idle] if fields else fields
            travelling = plan.travelling
            if not plan.adds_headers and not (heeded and [pair for pair in heeded if pair[0] not in travelling]):
                headers = b"%b%b\r\n\r\n" % (plan.sent, request_id.encode()) if plan.sends_id else plan.sent
                if heeded:
                    headers = add_travelling(headers, plan.place, heeded, travelling)
            else:
                timeout = choose_timeout(fields, plan.timeout, plan.max_timeout)
                own = plan.write_own(request, subject) if plan.write_own else ()
                headers = encode_headers(route, fields, request_id, values, own)
                prefers_text = plan.wraps and is_text_preferred(fields)
            outbound = Outbound(  # positional arguments: keywords would cost twice as much
                request,
                plan,
                request_id,
                subject,
                headers,
                encode_payload(route, values) if payload in WITH_PARAMETERS else b"",
                request.received + timeout,
                timeout,
                choose_max_body(plan, fields) if payload in WITH_BODY else None,
                prefers_text,
            )
        except GatewayError as error:
            return self._answer_problem(request, route.name, request_id, error)
        if outbound.max_body is None:
            self._set_off(outbound)
        return outbound

    def load(self, outbound: Outbound, body: bytes) -> Response | Check | None:
        """Check the body, and make it the payload. Returns None if it is valid, the Response if it breaks the rules of
        the route, or a Check if it would take too long to check it here."""
        try:
            if signature := outbound.plan.signature:
                signature.check_body(outbound.request, body)
            check = outbound.route.body_rules.check_body(body)
        except GatewayError as error:
            return self.refuse(outbound, error)
        if check is None:
            self._set_body(outbound, body)
        return check

    def load_checked(self, outbound: Outbound, check: Check, verdict: GatewayError | None) -> Response | None:
        """Make the body of a Check the payload. Returns the Response if the verdict is an error."""
        if verdict is not None:
            return self.refuse(outbound, verdict)
        self._set_body(outbound, check.body)
        return None

    def _set_body(self, outbound: Outbound, body: bytes) -> None:
        outbound.payload = merge(body, outbound.payload) if outbound.payload else body
        self._set_off(outbound)

    def _set_off(self, outbound: Outbound) -> None:
        """The last step before the request is sent: add facts and call `on_send`."""
        if outbound.plan.adds_facts:
            outbound.add_facts(self.proxies)
        for tell in self._on_send:
            tell(outbound)

    def refuse(self, outbound: Outbound, error: GatewayError) -> Response:
        """The Response to a request that was not sent."""
        return self._answer_problem(outbound.request, outbound.route.name, outbound.request_id, error)

    def finish(self, outbound: Outbound, outcome: Reply | GatewayError) -> Response:
        """The Response for a reply or an error. An Unchecked may only be sent after its check: see `finish_checked`."""
        request, route = outbound.request, outbound.plan.route
        waited = time.monotonic() - (outbound.sent_at or request.received)
        was_sent = True
        if isinstance(outcome, GatewayError):
            was_sent = not is_unsent(outcome)
            response = self._make_problem(request, route.name, outbound.request_id, outbound.explain(outcome))
        else:
            try:
                response = outbound.plan.replies.read(outcome.headers, outcome.payload, outbound.prefers_text)
                if rules := route.reply_rules:
                    response = check_reply(response, rules)
            except GatewayError as error:
                response = self._make_problem(request, route.name, outbound.request_id, error)
            else:
                complete(response, request, outbound.request_id)
                response.delivered = outbound.plan.replies.delivered
            response.route = route.name
            response.reply_time = waited
        for tell in self._on_answer:
            tell(response, request, waited if was_sent else None)
        return response

    def finish_many(self, outbound: Outbound, response: Response, *, is_stream: bool = False) -> Response:
        """Complete the response to many replies, or the head of a stream of them: see `exchange.many`."""
        request = outbound.request
        waited = time.monotonic() - (outbound.sent_at or request.received)
        complete(response, request, outbound.request_id)
        response.length = None if is_stream else response.length
        response.delivered, response.route, response.reply_time = "yes", outbound.route.name, waited
        for tell in self._on_answer:
            tell(response, request, waited)
        return response

    def finish_checked(self, outbound: Outbound, response: Unchecked, verdict: GatewayError | None) -> Response:
        """The response after its check: the same one, or a 502 if the verdict is an error."""
        if verdict is None:
            return response
        refused = self.refuse(outbound, to_bad_reply(verdict))
        refused.reply_time = response.reply_time
        return refused

    def not_found(self, request: Request) -> Response:
        """The Response if neither a route nor a page has this path."""
        return self._answer_problem(request, None, self.choose_request_id(request.headers), NotFound())

    def fail(self, request: Request, route: str | None = None) -> Response:
        """The Response after a bug of the gateway. The lane logs the exception. `route` is the name of the route, if
        known."""
        return self._answer_problem(request, route, self.choose_request_id(request.headers), Internal())

    def _begin_unmatched(self, request: Request) -> Response | None:
        is_asterisk = request.path == b"*" and request.method == "OPTIONS"  # RFC 9110 §9.3.7: about the whole server
        allowed = EVERY_METHOD if is_asterisk else self._table.allowed(request.path)
        allow = ((b"allow", ", ".join(allowed).encode("ascii")),) if allowed else ()
        if request.method == "OPTIONS":
            preflight = read_preflight(request.headers)
            if (preflight and check_preflight(preflight, request, self._table, self._plans, self._cors)) or allow:
                return complete(Response(204, Fields(allow), b""), request, self.choose_request_id(request.headers))
        if self._cors:
            self._cors.check(request)
        if not allow:
            return None
        error = MethodNotAllowed(f"This path allows {', '.join(allowed)}.", headers=allow)
        return self._answer_problem(request, None, self.choose_request_id(request.headers), error)

    def find_path(self, name: str) -> str | None:
        """The path template of the route of this name; None if there is no such route now."""
        plan = self._by_name.get(name)
        return plan.route.path if plan else None

    def find_cluster(self, name: str) -> str:
        """The NATS cluster of the route of this name; MAIN if there is no such route now."""
        plan = self._by_name.get(name)
        return plan.route.nats if plan else MAIN

    def plan(self, route: Route, *, is_alone: bool) -> Plan:
        """Make the plan of a route for `use`. `is_alone` says that the table has no other route."""
        return make_plan(route, self._limits, is_alone=is_alone, before=self._by_name.get(route.name))

    def _answer_problem(self, request: Request, route: str | None, request_id: str, error: GatewayError) -> Response:
        response = self._make_problem(request, route, request_id, error)
        for tell in self._on_answer:
            tell(response, request, None)
        return response

    def _make_problem(self, request: Request, route: str | None, request_id: str, error: GatewayError) -> Response:
        response = build_problem_response(
            error,
            instance=request.path.decode("latin-1"),
            request_id=request_id,
            route=route,
            root=self.proxies.find_root(request.caller, request.headers),
            accept=find_accept(request.headers),
            pages=self._pages,
        )
        return complete(response, request, request_id)
