"""`nats-http explain`: what a request would become, told by the relay itself. Sends nothing."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout

from ..checks.process import find_fault
from ..edge.auth import Authenticate
from ..edge.cors import Cors
from ..edge.request import Caller, Request
from ..errors import GatewayError, NotFound
from ..exchange.outbound import Outbound, Streaming, Waiting, body_too_large
from ..exchange.plans import Limits
from ..exchange.problems import PROBLEM_TYPE, build_problem
from ..exchange.relay import Relay
from ..exchange.responses import Response
from ..exchange.way_out import WayOut
from ..formats.fields import Pair
from ..formats.units import format_duration
from ..observe.record import Observers
from ..routing.bodies import Check
from ..routing.routes import Route
from ..routing.table import RouteTable
from ..settings import Settings
from .callers import describe_caller

_SHOWN = (b"allow", b"www-authenticate")
"""Header fields of a response that say what a request should have been."""


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
) -> tuple[bool, str]:
    """Whether the request would be sent to NATS, or answered well, and a text of some lines that tells more. `peer`
    is the address that it comes from, `cors` is for all that is no route."""
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
        begun = relay.resume(begun, _wait(begun))
    if begun is None:
        return False, _write_not_found(path, relay.proxies.find_root(request.caller, request.headers))
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


def _wait(waiting: Waiting) -> GatewayError | None:
    """What the policy has against the request."""

    async def ask() -> None:
        await waiting.wait()

    try:
        with redirect_stdout(sys.stderr):  # for what the log says of a fetch
            asyncio.run(ask())
    except GatewayError as error:
        return error
    return None


def _describe_caller(request: Request, route: Route | None) -> list[tuple[str, str]]:
    """Whom the route asks for, if it does, and who calls."""
    policies = route.policies if route else ()
    auth = next((policy for policy in policies if isinstance(policy, Authenticate)), None)
    return describe_caller(request, auth) if auth else []


def _write_outbound(outbound: Outbound, caller: Sequence[tuple[str, str]]) -> str:
    block = outbound.headers.decode("utf-8", "replace").replace("\r\n", "\n").strip().splitlines()
    payload = outbound.payload.decode("utf-8", "replace")
    rows = [
        ("route", outbound.route.name),
        *caller,
        ("subject", outbound.subject),
        ("payload", payload or "(empty)"),
        ("headers", "\n         ".join(block) or "(none)"),
        ("timeout", format_duration(outbound.timeout)),
    ]
    added = [f"adds     {line}" for line in _list_added(outbound.request.added)]
    return "\n".join([*(f"{name:8} {value}" for name, value in rows), *added])


def _write_response(response: Response, caller: Sequence[tuple[str, str]]) -> str:
    fields = [(name.decode(), value.decode()) for name, value in response.headers if name in _SHOWN]
    is_json = any(value == PROBLEM_TYPE for name, value in response.headers if name == b"content-type")
    text = response.body.decode("utf-8", "replace")
    body = [json.dumps(json.loads(text), indent=2, ensure_ascii=False) if is_json else text] if text else []
    added = [f"adds     {line}" for line in _list_added(response.added)]
    facts = [(name, value) for name, value in response.facts if name != "detail"]  # which the body has
    told = [f"{name:8} {value}" for name, value in (*caller, *facts, *fields)]
    return "\n".join([f"status   {response.status}", *told, *added, *body])


def _list_added(fields: Sequence[Pair]) -> list[str]:
    """What stands in the answer by a policy."""
    return [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in fields]


def _write_not_found(path: str, root: str) -> str:
    problem = build_problem(NotFound(), instance=path, request_id="", root=root)
    del problem["request_id"]
    return f"status   {NotFound.status}\n{json.dumps(problem, indent=2, ensure_ascii=False)}"
