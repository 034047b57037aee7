"""Answers CORS preflights with the methods and headers that the routes of a path really have. Pure."""

from collections.abc import Sequence

from ..edge.cors import Cors, Preflight, list_asked
from ..edge.request import Request
from ..formats.fields import CLIENT_CERT
from ..routing.table import RouteTable
from .plans import Plan, Plans

_OF_ALL = (b"x-request-id", b"x-request-timeout")  # every route reads them


def check_preflight(
    preflight: Preflight, request: Request, table: RouteTable, plans: Plans, elsewhere: Cors | None
) -> bool:
    """Add the fields that the rules allow to the answer. Returns False if no rules apply.

    The rules are those of the route that matches the announced request. If no route matches, they are `elsewhere`. The
    answer covers all routes of this path with the same rules. If no route has the path, only the gateway reads the
    request: then a page may send any method and header, so that it can read the 404."""
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
    return frozenset(_OF_ALL).union(*(plan.relevant | plan.asked for plan in plans)) - {CLIENT_CERT}  # only of proxies
