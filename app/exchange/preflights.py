"""Answers to CORS preflights, from what the routes of a path really take and read. Pure."""

from collections.abc import Sequence

from ..edge.cors import Cors, Preflight, list_asked
from ..edge.request import Request
from ..routing.table import RouteTable
from .plans import Plan, Plans

_OF_ALL = (b"x-request-id", b"x-request-timeout")  # that every route reads


def check_preflight(
    preflight: Preflight, request: Request, table: RouteTable, plans: Plans, elsewhere: Cors | None
) -> bool:
    """Adds to the answer what its rules allow; False where there are none. Those of the route that the request would
    have count, and `elsewhere`, those of all that is no route, where it would have none. The answer is for all routes
    of the path that have the same rules. Where no route has the path nobody but the gateway reads the request: a page
    may send any, so that it can read the answer."""
    found = {method: _find_plan(method, request, table, plans) for method in table.allowed(request.path)}
    plan = _find_plan(preflight.method.decode("ascii"), request, table, plans)
    cors = elsewhere if plan is None else plan.cors
    if cors is None:
        return False
    if not found:
        asked = [*_OF_ALL, *list_asked(preflight)]
        cors.check_preflight(request, preflight, methods=[preflight.method.decode("ascii")], headers=asked)
        return True
    alike = {
        method: other for method, other in found.items() if other and other.cors and other.cors.rules == cors.rules
    }
    cors.check_preflight(request, preflight, methods=alike, headers=_list_read(list(alike.values())))
    return True


def _find_plan(method: str, request: Request, table: RouteTable, plans: Plans) -> Plan | None:
    match = table.match(method, request.path)
    return plans[match[0]] if match else None


def _list_read(plans: Sequence[Plan]) -> frozenset[bytes]:
    return frozenset(_OF_ALL).union(*(plan.relevant for plan in plans))
