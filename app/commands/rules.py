"""Describes the policies of routes in words, for `nats-http routes` and `nats-http explain`."""

import json
from collections.abc import Iterator, Sequence

from ..edge.allow_from import AllowFrom
from ..edge.auth import Authenticate
from ..edge.buckets import Limit
from ..edge.cors import Cors, CorsRules
from ..edge.policy import Policy
from ..edge.rate_limit import RateLimit
from ..edge.signature import Signature
from ..formats.clusters import MAIN
from ..formats.units import format_duration
from ..routing.kinds import RequestReply
from ..routing.routes import Route

_AUTH, _SIGNATURE, _LIMIT, _NETWORKS, _CORS = "AUTH", "SIGNATURE", "RATE LIMIT", "ALLOW FROM", "CORS"
_COLUMNS = {_AUTH: "open", _SIGNATURE: "-", _LIMIT: "-", _NETWORKS: "-", _CORS: "-"}
"""The titles of the columns, and the text for a route without such a policy."""


def list_columns(routes: Sequence[Route]) -> Iterator[tuple[str, list[str]]]:
    """Each title with a cell for each route. A column is left out if it would say nothing about any route."""
    words = [route.kind.word for route in routes]
    if set(words) != {RequestReply.word}:
        yield "KIND", words
    clusters = [route.nats for route in routes]
    if set(clusters) != {MAIN}:
        yield "NATS", clusters
    found = [[rule for policy in route.policies if (rule := _describe_policy(policy))] for route in routes]
    for title, nothing in _COLUMNS.items():
        cells = [", ".join(text for name, text in rules if name == title) for rules in found]
        if any(cells):
            yield title, [cell or nothing for cell in cells]


def _describe_policy(policy: Policy) -> tuple[str, str] | None:
    if isinstance(policy, Authenticate):
        return _AUTH, describe_auth(policy)
    if isinstance(policy, Signature):
        return _SIGNATURE, policy.header
    if isinstance(policy, RateLimit):
        return _LIMIT, _describe_limit(policy.limit)
    if isinstance(policy, AllowFrom):
        return _NETWORKS, ", ".join(policy.networks)
    if isinstance(policy, Cors):
        return _CORS, _describe_origins(policy.rules)
    return None


def describe_auth(auth: Authenticate) -> str:
    """A description of the callers that pass."""
    return "; ".join(_list_rules(auth))


def _list_rules(auth: Authenticate) -> Iterator[str]:
    yield " or ".join(auth.schemes)
    if auth.scopes:
        yield f"scopes {' '.join(auth.scopes)}"
    for name, values in auth.claims.items():
        yield f"claim {name} {' or '.join(json.dumps(value, ensure_ascii=False) for value in values)}"


def _describe_limit(limit: Limit) -> str:
    return f"{limit.name} ({limit.average} each {format_duration(limit.period)} by {limit.by})"


def _describe_origins(rules: CorsRules) -> str:
    pattern = () if rules.allow_origin_regex is None else (rules.allow_origin_regex,)
    return ", ".join((*sorted(rules.allow_origins), *pattern))
