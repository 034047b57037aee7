"""Warnings of `nats-http check` about a valid route file: things that are allowed, but perhaps not intended. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..edge.auth import Authenticate
from ..edge.rate_limit import RateLimit
from ..edge.signature import Signature
from ..formats.schemas import Json
from ..routing.kinds import Publish, Store
from ..routing.routes import Route
from .auth import SchemeSource
from .cors import find_open
from .keys import has_expired

if TYPE_CHECKING:
    from .load import RouteFile

MAX_SHOWN = 3  # names of keys in a line


def find_advice(file: "RouteFile", *, pages: Sequence[str], can_be_shown: bool, now: float) -> Iterator[str]:
    """One line for each warning. `pages` has the names of the schemes that protect the gateway's own pages.
    `can_be_shown` says whether a client certificate can reach the gateway. `now` is the Unix time."""
    routes = file.table.routes
    yield from find_open(file.cors, routes)
    yield from _find_unused(file, pages)
    for name in find_unproven(file.sources, can_be_shown=can_be_shown):
        yield f"auth.{name}: nobody can show a certificate: {UNPROVEN}"
    yield from _find_open_routes(file.sources, routes)
    yield from _find_unsafe(routes)
    yield from _find_doubtful_keys(file.sources, now)


UNPROVEN = "neither GATEWAY_TLS_CLIENT_CA nor GATEWAY_TRUSTED_PROXIES is set"


def find_unproven(sources: Sequence[SchemeSource], *, can_be_shown: bool) -> list[str]:
    """The names of all schemes of client certificates if no certificate can reach the gateway, else no names."""
    found = [source.name for source in sources if source.declared.get("type") == "client-certificate"]
    return [] if can_be_shown else found


def _find_unused(file: "RouteFile", pages: Sequence[str]) -> Iterator[str]:
    policies = [policy for route in file.table.routes for policy in route.policies]
    schemes = {name for policy in policies if isinstance(policy, Authenticate) for name in policy.schemes}
    if file.discover and file.discover.auth:
        schemes.update(file.discover.auth.any)
    for name in file.schemes:
        if name not in schemes and name not in pages:
            yield f"auth.{name}: no route uses this scheme, nor does GATEWAY_PAGES_AUTH"
    limits = {policy.limit.name for policy in policies if isinstance(policy, RateLimit)}
    for name in file.counters:
        if name not in limits:
            yield f"rate_limits.{name}: no route uses this limit"


def _find_open_routes(sources: Sequence[SchemeSource], routes: Sequence[Route]) -> Iterator[str]:
    """If the file has schemes: one line for all routes that have another method than GET, and ask for neither
    credentials nor a signature."""
    found = [route for route in routes if set(route.methods) - {"GET"} and not _asks(route)] if sources else []
    if found:
        methods = sorted({method for route in found for method in route.methods} - {"GET"})
        yield f"{_count_others(found[0].name, len(found))}: with `auth: none` anybody may send {', '.join(methods)}"


def _find_unsafe(routes: Sequence[Route]) -> Iterator[str]:
    """One line for all routes that publish on a GET (RFC 9110 §9.2.1)."""
    found = [route for route in routes if isinstance(route.kind, Publish | Store) and "GET" in route.methods]
    if found:
        yield f"{_count_others(found[0].name, len(found))}: a GET publishes: browsers and caches may repeat or skip it"


def _asks(route: Route) -> bool:
    return any(isinstance(policy, Authenticate | Signature) for policy in route.policies)


def _find_doubtful_keys(sources: Sequence[SchemeSource], now: float) -> Iterator[str]:
    """One line for each file with API keys that never expire, and one for each file with expired keys."""
    files = {str(source.declared["file"]): source for source in sources if source.declared.get("type") == "api-key"}
    for name, source in files.items():
        keys = [entry for entry in source.entries if isinstance(entry, dict)]
        yield from _list_keys(name, keys, "never expire", lambda key: "expires" not in key)
        yield from _list_keys(name, keys, "have expired", lambda key: has_expired(key.get("expires"), now))


def _list_keys(
    file: str, keys: Sequence[Mapping[str, Json]], what: str, is_meant: Callable[[Mapping[str, Json]], bool]
) -> Iterator[str]:
    found = [str(key["name"]) for key in keys if is_meant(key)]
    if found:
        more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        yield f"{file}: {len(found)} of {len(keys)} keys {what}: {', '.join(found[:MAX_SHOWN])}{more}"


def _count_others(name: str, count: int) -> str:
    return f"route '{name}'{f' and {count - 1} more' if count > 1 else ''}"
