"""The part of an OpenAPI document that is about one tag, such as a service. Pure."""

import json
from typing import Any


def select_tag(document: bytes, tag: str) -> bytes | None:
    """The document with the operations of this tag, and with the schemas that these need. None if no operation has the
    tag."""
    whole: dict[str, Any] = json.loads(document)
    paths = {path: _select(item, tag) for path, item in whole["paths"].items()}
    chosen = {path: item for path, item in paths.items() if item}
    if not chosen:
        return None
    whole["paths"] = chosen
    whole["tags"] = [one for one in whole.get("tags", ()) if one["name"] == tag]
    _keep_used(whole)
    return json.dumps(whole, ensure_ascii=False).encode()


def _select(item: dict[str, Any], tag: str) -> dict[str, Any]:
    """The operations of a path with this tag, and what they share. Empty if there is none."""
    own = {key: value for key, value in item.items() if not isinstance(value, dict) or tag in value.get("tags", ())}
    return own if any(isinstance(value, dict) for value in own.values()) else {}


def _keep_used(document: dict[str, Any]) -> None:
    """Leave out the schemas that nothing refers to."""
    components = document.get("components", {})
    schemas: dict[str, Any] = components.get("schemas", {})
    waiting: list[Any] = [document["paths"], {key: value for key, value in components.items() if key != "schemas"}]
    used: set[str] = set()
    while waiting:
        for name in _list_references(waiting.pop()):
            if name in schemas and name not in used:
                used.add(name)
                waiting.append(schemas[name])
    if schemas:
        components["schemas"] = {name: schema for name, schema in schemas.items() if name in used}


def _list_references(value: Any) -> list[str]:
    found: list[str] = []
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            if isinstance(reference := inner.get("$ref"), str):
                found.append(reference.removeprefix("#/components/schemas/"))
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
    return found
