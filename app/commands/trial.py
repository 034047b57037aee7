"""Finds a request that a new user can send at once: its service would get it."""

import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from ..edge.rate_limit import RateLimit
from ..routing.parameters import Format, Parameter, Scalar, Value, write_value
from ..routing.paths import find_parameter
from ..routing.routes import Route
from ..routing.table import RouteTable
from ..settings import Settings
from .explain import explain_request

MAX_TRIED = 50  # routes that are tried
PEER = "127.0.0.1"
_OF_FORMAT: dict[Format, str] = {
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "sue@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """A valid request for a route."""

    route: Route
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str | None

    @property
    def pattern(self) -> str:
        """The subjects to which the service of the route subscribes."""
        return write_pattern(self.route)

    def write_command(self, address: str) -> str:
        """A command line for a shell that sends the request to the gateway at this address."""
        words = ["curl", "-X", "POST"] if self.method == "POST" and self.body is None else ["curl"]
        for name, value in self.headers:
            words += ["-H", f"{name}: {value}"]
        if self.body is not None:
            words += ["-d", self.body]
        return shlex.join([*words, f"{address}{self.target}"])


def find_trial(table: RouteTable, settings: Settings) -> Trial | None:
    """The best trial among the first MAX_TRIED routes. Best is a GET whose parameters have declared values, then a GET
    with guessed values, then a POST. None if no trial would be valid."""
    routes = table.routes[:MAX_TRIED]
    trials = [trial for method in ("GET", "POST") for route in routes if (trial := _make_trial(route, method))]
    trials.sort(key=lambda trial: (trial.method != "GET", trial.body is not None, _is_guessed(trial.route)))
    return next((trial for trial in trials if _is_right(trial, table, settings)), None)


def write_pattern(route: Route) -> str:
    """The subjects of a route in the form of a subscription: `orders.*.get`, `files.>`."""
    template = route.subject_template
    wildcards = {name: ">" if name == template.tail else "*" for name in template.parameters if name}
    return template.format.format_map(wildcards)


def _make_trial(route: Route, method: str) -> Trial | None:
    if method not in route.methods:
        return None
    needed = [parameter for parameter in route.parameters if parameter.is_required]
    texts = {parameter.name: list(_write_values(parameter)) for parameter in needed}
    filled = {name: quote(values[0], safe="/" if name == route.tail else "") for name, values in texts.items()}
    path = "/" + "/".join(filled.get(find_parameter(segment) or "", segment) for segment in route.segments)
    pairs = [(p.name, text) for p in needed if p.location == "query" for text in texts[p.name]]
    query = "&".join(f"{quote(name, safe='')}={quote(text, safe=',')}" for name, text in pairs)
    headers = [(p.name, texts[p.name][0]) for p in needed if p.location == "header"]
    body = _choose_body(route) if route.choose_payload(method) in ("body", "merge") else None
    if body is not None:
        headers.append(("Content-Type", _choose_type(route)))
    return Trial(route, method, f"{path}?{query}" if query else path, tuple(headers), body)


def _is_right(trial: Trial, table: RouteTable, settings: Settings) -> bool:
    path = trial.target.partition("?")[0]
    found = table.match(trial.method, path.encode())
    if found is None or found[0] is not trial.route:
        return False
    headers = [(name.lower().encode(), value.encode()) for name, value in trial.headers]
    body = None if trial.body is None else trial.body.encode()
    uncounted = tuple(policy for policy in trial.route.policies if not isinstance(policy, RateLimit))
    alone = RouteTable([replace(trial.route, policies=uncounted)])
    return explain_request(settings, alone, trial.method, trial.target, headers=headers, body=body, peer=PEER)[0]


def _is_guessed(route: Route) -> bool:
    return any(p.is_required and _find_declared(p) is None for p in route.parameters)


def _find_declared(parameter: Parameter) -> Value | None:
    least = None if parameter.minimum is None else math.ceil(parameter.minimum)  # a subject token has no dots
    given = (parameter.example, parameter.default, least, *(parameter.enum or ())[:1])
    return next((value for value in given if value is not None), None)


def _write_values(parameter: Parameter) -> Iterator[str]:
    """The texts of a parameter. There are several if it is repeated."""
    value = _find_declared(parameter)
    value = _guess(parameter) if value is None else value
    items = value if isinstance(value, list) else [value]
    texts = [write_value(item) for item in items] or [""]
    yield from [parameter.separator.join(texts)] if parameter.separator else texts


def _guess(parameter: Parameter) -> Scalar:
    if parameter.type == "boolean":
        return True
    if parameter.type != "string":
        return 1 if parameter.maximum is None else min(1, math.floor(parameter.maximum))
    if parameter.format:
        return _OF_FORMAT[parameter.format]
    least = parameter.min_length or 1
    if parameter.name.lower().endswith("id") and least == 1 and parameter.pattern is None:
        return "1"  # it is often a number, and a text such as `id` fails in the service
    return (parameter.name * math.ceil(least / len(parameter.name)))[: parameter.max_length]


def _choose_type(route: Route) -> str:
    accepts = route.accepts
    return "application/json" if not accepts or "application/json" in accepts else accepts[0]


def _choose_body(route: Route) -> str:
    """The first example of the body's schema, else an empty object."""
    schema = route.body_schema
    given = schema.get("examples") if isinstance(schema, dict) else None
    example = given[0] if isinstance(given, list) and given else {}
    return json.dumps(example, ensure_ascii=False)
