"""`nats-http explain`: shows what the relay would make of a request. It sends nothing."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout

from ..checks.process import find_fault
from ..edge.auth import Authenticate
from ..edge.cors import Cors
from ..edge.policy import AsyncCheck
from ..edge.proxies import Proxies
from ..edge.request import Caller, Request
from ..errors import Facts, GatewayError, NotFound
from ..exchange.outbound import Outbound, Streaming, Waiting, body_too_large
from ..exchange.plans import Limits
from ..exchange.problems import PROBLEM_TYPE, build_problem
from ..exchange.relay import Relay
from ..exchange.responses import Response
from ..exchange.way_out import WayOut
from ..formats.clusters import MAIN
from ..formats.fields import Pair
from ..formats.units import format_duration
from ..observe.record import Observers
from ..routing.bodies import Check
from ..routing.kinds import Gather, Publish, Store, Subscribe
from ..routing.routes import Route
from ..routing.table import RouteTable
from ..settings import Settings
from .callers import Rows, describe_caller
from .near import list_near

_SHOWN = (b"allow", b"www-authenticate")
"""Header fields of a response that say what the request should have been."""


def explain_request(
    settings: Settings,
    table: RouteTable,
    method: str,
    target: str,
    *,
    headers: Sequence[Pair],
    body: bytes | None,
    peer: str,
    cors: Cors | None = None,
    explain_page: Callable[[Request], tuple[bool, str] | None] | None = None,
) -> tuple[bool, str]:
    """Whether the request would be sent to NATS or answered below 400, and some lines that explain it.

    `peer` is the address of the caller. `cors` is for paths without a route. `explain_page` is asked about these paths
    first.
    """
    relay = Relay(table, Limits.of(settings), WayOut(Observers()), settings.proxies, cors=cors)
    path, _, query = target.partition("#")[0].partition("?")
    length = [] if body is None else [(b"content-length", b"%d" % len(body))]
    request = Request(
        method=method.upper(),
        path=path.encode(),
        query=query.encode(),
        headers=[*headers, *length],
        version="1.1",
        received=time.monotonic(),
        caller=Caller(address=peer, scheme="http", lane="fast"),
    )
    request.caller = relay.proxies.believe(request.caller, request.headers)
    begun = relay.begin(request)
    while isinstance(begun, Waiting):
        begun = relay.resume(begun, wait_for(begun.wait))
    if begun is None:
        near = [("near", template) for template in list_near(table, path)]
        found = explain_page(request) if explain_page else None
        return found or (False, write_problem(NotFound(), request, relay.proxies, near))
    if isinstance(begun, Outbound):
        refused = _load(relay, begun, body or b"")
        if refused is None:
            return True, _write_outbound(begun, _describe_caller(request, begun.route))
        begun = refused
    response = begun.response if isinstance(begun, Streaming) else begun
    route = next((route for route in table.routes if route.name == response.route), None)
    return response.status < 400, _write_response(response, _describe_caller(request, route))


def _load(relay: Relay, outbound: Outbound, body: bytes) -> Response | None:
    if outbound.max_body is None:
        return None
    if len(body) > outbound.max_body:
        return relay.refuse(outbound, body_too_large(outbound.max_body))
    loaded = relay.load(outbound, body)
    return relay.load_checked(outbound, loaded, find_fault(loaded)) if isinstance(loaded, Check) else loaded


def wait_for(check: AsyncCheck) -> GatewayError | None:
    """The error with which the policy refuses the request. None if it lets the request pass."""

    async def ask() -> None:
        await check()

    try:
        with redirect_stdout(sys.stderr):  # keeps log lines about a fetch out of the output
            asyncio.run(ask())
    except GatewayError as error:
        return error
    return None


def _describe_caller(request: Request, route: Route | None) -> Rows:
    """Rows about the caller, if the route has `auth`."""
    policies = route.policies if route else ()
    auth = next((policy for policy in policies if isinstance(policy, Authenticate)), None)
    return describe_caller(request, auth) if auth else []


def _write_outbound(outbound: Outbound, caller: Rows) -> str:
    block = outbound.headers.decode("utf-8", "replace").replace("\r\n", "\n").strip().splitlines()
    payload = outbound.payload.decode("utf-8", "replace")
    sent = [("payload", payload or "(empty)"), ("headers", "\n         ".join(block) or "(none)")]
    rows = [
        ("route", outbound.route.name),
        *caller,
        *_describe_kind(outbound.route),
        *([("nats", outbound.route.nats)] if outbound.route.nats != MAIN else []),
        ("subject", outbound.subject),
        *([] if isinstance(outbound.route.kind, Subscribe) else sent),
        ("timeout", format_duration(outbound.timeout)),
    ]
    return write_rows(rows, outbound.request.added)


def _describe_kind(route: Route) -> Rows:
    """Nothing for a route whose service replies."""
    match route.kind:
        case Gather(most=most, stall=stall):
            return [("kind", f"a request with many replies: at most {most}, {format_duration(stall)} apart")]
        case Subscribe(stream=None):
            return [("kind", "messages, for as long as the caller stays")]
        case Subscribe(stream=stream):
            return [("kind", f"messages of stream {stream}, for as long as the caller stays")]
        case Publish():
            return [("kind", "a message that nobody replies to")]
        case Store(stream=stream):
            return [("kind", f"a message that stream {stream} stores")]
    return []


def _write_response(response: Response, caller: Rows) -> str:
    is_json = any(value == PROBLEM_TYPE for name, value in response.headers if name == b"content-type")
    text = response.body.decode("utf-8", "replace")
    body = [json.dumps(json.loads(text), indent=2, ensure_ascii=False) if is_json else text] if text else []
    rows = [("status", str(response.status)), *caller, *_list_facts(response.facts, response.headers)]
    return "\n".join([write_rows(rows, response.added), *body])


def _list_facts(facts: Facts, headers: Iterable[Pair]) -> Rows:
    """Rows that only operators see, and header fields that say what the caller should have sent. The body has the
    detail."""
    fields = [(name.decode(), value.decode()) for name, value in headers if name in _SHOWN]
    return [*(fact for fact in facts if fact[0] != "detail"), *fields]


def write_problem(error: GatewayError, request: Request, proxies: Proxies, rows: Rows) -> str:
    """The problem for a request without a route, as text."""
    root = proxies.find_root(request.caller, request.headers)
    problem = build_problem(error, instance=request.path.decode("utf-8"), request_id="", root=root)
    del problem["request_id"]
    rows = [("status", str(error.status)), *rows, *_list_facts(error.facts, error.headers)]
    return f"{write_rows(rows, request.added)}\n{json.dumps(problem, indent=2, ensure_ascii=False)}"


def write_rows(rows: Rows, added: Sequence[Pair] = ()) -> str:
    """One line for each row. `added` are the fields that policies add to the answer."""
    fields = [("adds", f"{name.decode('latin-1')}: {value.decode('latin-1')}") for name, value in added]
    return "\n".join(f"{name:8} {value}" for name, value in (*rows, *fields))
