"""Joins `defaults` with the keys of routes. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..formats.schemas import Json
from ..routing.paths import list_parameters
from ..routing.words import sends_body

# A route adds its own keys to these mappings of `defaults`. Any other value of a route replaces the default.
_JOINED: Mapping[str, Any] = {
    "params": {},
    "send_headers": {},
    "identity": {},
    "reply": {"errors": {}, "set_headers": {}, "statuses": {}},
}
_OF_STREAMS = ("idempotency_key", "idempotency_header")
_OF_ONE_REPLY = ("wrap", "status", "set_headers")
_OF_BODIES = ("accepts", "max_body", "body_schema", "signature")


def apply_defaults(defaults: Mapping[str, Json], route: Mapping[str, Json]) -> dict[str, Json]:
    """The route with the defaults of the keys that it does not set itself. A route that sends no body gets no key about
    bodies, one with `publish` no `reply`, one with `replies` no key about the status and the
    head of a single reply, and one without `stream` no key about streams. A route does not get a
    parameter with `in: path` that is not in its path."""
    left_out = (
        *(("reply",) if "publish" in route or "subscribe" in route else ()),
        *(() if "stream" in route else _OF_STREAMS),
    )
    chosen = {key: value for key, value in defaults.items() if key not in left_out}
    if "replies" in route and isinstance(reply := chosen.get("reply"), dict):
        chosen["reply"] = {key: value for key, value in reply.items() if key not in _OF_ONE_REPLY}
    methods = route.get("method")
    payload = route.get("payload", defaults.get("payload"))
    if not sends_body(payload, methods if isinstance(methods, list) else [methods]):
        chosen = {key: value for key, value in chosen.items() if key not in _OF_BODIES}
    params, in_path = chosen.get("params"), list_parameters(str(route.get("path")).split("/"))
    if isinstance(params, dict):
        chosen["params"] = {
            name: rules
            for name, rules in params.items()
            if not (isinstance(rules, dict) and rules.get("in") == "path") or name in in_path
        }
    return join(chosen, route)


def join(defaults: Mapping[str, Json], own: Mapping[str, Json]) -> dict[str, Json]:
    """The keys of both mappings. If both have a key, the value of `own` counts. The mappings of `_JOINED` are joined in
    the same way."""
    return _join(defaults, own, _JOINED)


def find_whole(path: Sequence[str | int]) -> tuple[str | int, ...]:
    """The beginning of a key path into a route, up to the first value that is not joined. Such a value comes as a whole
    from the route, or as a whole from `defaults`."""
    joined = _JOINED
    for end, key in enumerate(path[2:], 3):
        if key not in joined:
            return tuple(path[:end])
        joined = joined[str(key)]
    return tuple(path)


def _join(defaults: Mapping[str, Json], own: Mapping[str, Json], joined: Mapping[str, Any]) -> dict[str, Json]:
    result = dict(defaults)
    for key, value in own.items():
        inherited = defaults.get(key)
        is_joined = key in joined and isinstance(value, dict) and isinstance(inherited, dict)
        result[key] = _join(inherited, value, joined[key]) if is_joined else value  # type: ignore[arg-type]
    return result
