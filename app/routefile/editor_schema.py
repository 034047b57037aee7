"""The JSON Schema of the route file. With it an editor completes the file, and marks values that `nats-http check`
would refuse.

The schema comes from the models. Some values are checked by code; for these a pattern is added here. It accepts every
valid value, but refuses fewer invalid ones than the code, since a schema can't express how parts fit together. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..formats.schemas import DRAFT, Json
from .model import FREE, FileModel

_NAME = "[A-Za-z_][A-Za-z0-9_-]*"
_LITERAL = r"(?!(?::\w+|\*\*?\w*|\.{1,2})(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_PREFIX = rf"^/{_LITERAL}(?:/(?:{_LITERAL}|\{{{_NAME}\}}))*"
_TOKEN = "[A-Za-z0-9_$~-]+"  # noqa: S105
_SUBJECT = rf"^(?![$_]){_TOKEN}(?:\.(?:{_TOKEN}|\{{{_NAME}\}}))*(?:\.\{{{_NAME}\.\.\.\}})?$"

_WATCHED = rf"^(?![$_]){_TOKEN}(?:\.(?:{_TOKEN}|\*|\{{{_NAME}\}}))*(?:\.(?:>|\{{{_NAME}\.\.\.\}}))?$"

# Keywords that are added to a property. The key has the name of its definition (empty for the file itself) and its own.
_MORE: Mapping[tuple[str, str], dict[str, Json]] = {
    ("", "prefix"): {"pattern": f"{_PREFIX}$", "examples": ["/v1"]},
    ("", "include"): {"examples": [["orders.yaml", "pets/*.yaml"]]},
    ("", "schemas"): {"propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,64}$"}},
    ("RouteModel", "name"): {"pattern": "^[A-Za-z0-9_-]{1,64}$", "examples": ["orders-get"]},
    ("RouteModel", "path"): {
        "pattern": rf"{_PREFIX}(?:/\{{{_NAME}\.\.\.\}})?$",
        "examples": ["/orders/{id}", "/files/{path...}"],
    },
    ("RouteModel", "subject"): {"pattern": _SUBJECT, "examples": ["orders.{id}.get", "files.{path...}"]},
    ("RouteModel", "publish"): {"pattern": _SUBJECT, "examples": ["orders.{id}.cancel"]},
    ("RouteModel", "subscribe"): {"pattern": _WATCHED, "examples": ["orders.{id}.events", "orders.*.events"]},
    ("RouteModel", "stream"): {"pattern": r"^[!-)+,\-0-=?-\[\]-~]{1,255}$", "examples": ["ORDERS"]},
    ("ReplyModel", "errors"): {"propertyNames": {"pattern": "^(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_.:-]{0,63})$"}},
    ("ReplyModel", "statuses"): {"propertyNames": {"pattern": "^[2-5][0-9]{2}$"}},
}
_SCHEMA_OR_FILE = ["object", "boolean", "string"]
_ABOUT = ("title", "description", "default", "examples")
_TYPED = (["integer"], ["number"], ["boolean"])
_VARIABLE: Json = {"$ref": "#/$defs/Variable"}


def build_schema() -> dict[str, Json]:
    """The schema, of draft 2020-12."""
    schema: dict[str, Any] = FileModel.model_json_schema(by_alias=True)
    for (kind, key), more in _MORE.items():
        _add(schema["$defs"][kind] if kind else schema, key, more)
    schema["$defs"]["RouteModel"] |= {
        "oneOf": [{"required": ["subject"]}, {"required": ["publish"]}, {"required": ["subscribe"]}],
        "dependentRequired": {"replies": ["subject"], "start": ["stream"]},
    }
    variable = {
        "description": "A text with a variable of the environment: `${NAME}` or `${NAME:-default}`.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_]",
    }
    walked: dict[str, Json] = _walk(schema, _finish)  # type: ignore[assignment]
    return {
        **walked,
        "$schema": DRAFT,
        "$id": "urn:nats-http-gateway:routes:1",
        "title": "Route file of nats-http-gateway",
        "required": ["version"],
        "anyOf": [{"required": [key]} for key in ("routes", "include", "discover")],
        "patternProperties": {f"^{FREE}": True},
        "$defs": {**walked["$defs"], "Variable": variable},  # type: ignore[dict-item]
    }


def _add(model: dict[str, Any], key: str, more: dict[str, Json]) -> None:
    """Add keywords to a property. If it may be null as well, they are added to its other types."""
    described = model["properties"][key]
    for kind in described.get("anyOf", [described]):
        if kind.get("type") != "null":
            kind.update(more)


def _walk(schema: Json, change: Callable[[dict[str, Json]], dict[str, Json]]) -> Json:
    """Apply `change` to a schema and to all schemas in it, inner ones first."""
    if isinstance(schema, list):
        return [_walk(item, change) for item in schema]
    if not isinstance(schema, dict):
        return schema
    walked = {
        key: value if key in ("default", "examples", "propertyNames", "required") else _walk(value, change)
        for key, value in schema.items()
    }
    return change(walked)


def _finish(schema: dict[str, Json]) -> dict[str, Json]:
    """Let a JSON Schema or a file name be the value of a key for schemas, and a text with a variable the value of every
    key that does not take free text."""
    if schema.get("type") == _SCHEMA_OR_FILE:
        rest = {key: value for key, value in schema.items() if key != "type"}
        return {**rest, "anyOf": [{"$ref": DRAFT}, {"type": "string"}]}
    is_typed = [schema.get("type")] in _TYPED or "enum" in schema or "const" in schema or "pattern" in schema
    if not is_typed or not isinstance(schema.get("type", ""), str):
        return schema
    about = {key: value for key, value in schema.items() if key in _ABOUT}
    rules: Json = {key: value for key, value in schema.items() if key not in _ABOUT}
    return {**about, "anyOf": [rules, _VARIABLE]}
