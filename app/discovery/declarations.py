"""Makes the declarations of routes from what a service says about its endpoints. Pure.

An endpoint without metadata is `POST /<service>/<endpoint>`, with a segment for each wildcard of its subject. Metadata
say more: docs/service-authors.md. A declaration has the keys of a route file, and is checked as one.

Laws:
1. A route of a service goes to subjects of this endpoint, and never to `$…` or `_…`.
2. A service can set only the keys of FREE. What protects the gateway, or reads its files, is for the route file alone.
3. What is wrong is a Remark, and then the endpoint has no route.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..formats.subjects import PLACEHOLDER, TAIL
from ..formats.words import suggest
from ..routing.paths import parse_path
from ..routing.routes import AUTO
from .infos import Endpoint, Info, Remark, clean
from .values import Wrong, check_bounds, clean_texts, read_json, refuse_files

FREE = (
    "method",
    "path",
    "subject",
    "summary",
    "description",
    "deprecated",
    "params",
    "query",
    "payload",
    "accepts",
    "max_body",
    "content_length",
    "body_schema",
    "headers",
    "send_headers",
    "timeout",
    "max_timeout",
    "replies",
    "reply",
    "auth",
)
"""The keys of a route that a service may set."""

_ANY, _REST = "*", ">"
_WILDCARDS = (_ANY, _REST)
_PREFIX = "http."
_TEXTS = ("method", "path", "subject", "timeout")
"""Keys of metadata that are keys of a route, as texts."""
KNOWN = (*_TEXTS, "status", "auth", "route", "routes")
"""The keys of metadata about HTTP, without their prefix."""
_FIRST = ("name", "method", "path", "subject")
_HIDDEN = "none"
_MAX_ROUTES = 100  # of one endpoint
MAX_ROUTES = 1000  # of one service
MAX_PATTERN_BYTES = 16 * 1024 * 1024  # of the compiled patterns of one service
_LITERAL = re.compile(r"[A-Za-z0-9._!$&'()*+,;=:@-]")
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Declaration:
    """A route that a service asks for, with the keys of a route file."""

    service: str
    endpoint: str
    route: Mapping[str, Any]
    notes: Sequence[str] = ()
    """What a person should know about it."""


def declare(info: Info, remarks: list[Remark]) -> Iterator[Declaration]:
    """The routes that a service asks for, at most MAX_ROUTES. Their names are unique in this service."""
    names: set[str] = set()
    patterns = 0
    for endpoint in info.endpoints:
        try:
            routes = list(_declare(info, endpoint))
            own = _measure_patterns(routes)
        except Wrong as error:
            remarks.append(Remark(info.name, endpoint.name, str(error)))
            continue
        if len(names) + len(routes) > MAX_ROUTES:
            text = f"with its routes the service would have more than {MAX_ROUTES}"
            remarks.append(Remark(info.name, endpoint.name, text))
            continue
        if patterns + own > MAX_PATTERN_BYTES:
            text = f"with its patterns the service would have more than {MAX_PATTERN_BYTES // 1024**2} MiB of them"
            remarks.append(Remark(info.name, endpoint.name, text))
            continue
        patterns += own
        remarks += [Remark(info.name, endpoint.name, text) for text in _find_lookalikes(endpoint.metadata)]
        for route, notes in routes:
            route["name"] = _choose_name(info.name, endpoint.name, names)
            ordered = {key: route[key] for key in (*_FIRST, *route)}
            yield Declaration(info.name, endpoint.name, ordered, notes)


def _measure_patterns(routes: Sequence[tuple[dict[str, Any], list[str]]]) -> int:
    """The bytes of all patterns of these routes. A schema that they share counts once. Raises Wrong."""
    sizes: dict[tuple[int, str], int] = {}
    for route, _ in routes:
        sizes |= check_bounds(route)
    return sum(sizes.values())


def _declare(info: Info, endpoint: Endpoint) -> Iterator[tuple[dict[str, Any], list[str]]]:
    tokens = endpoint.subject.split(".")
    if tokens[0][:1] in ("$", "_"):
        raise Wrong(f"its subject {endpoint.subject} begins with $ or _, which belongs to NATS")
    if tokens[0] in _WILDCARDS or "" in tokens or _REST in tokens[:-1]:
        raise Wrong(f"its subject {endpoint.subject} does not begin with a word, or is not a subject")
    metadata = _read_metadata(endpoint.metadata)
    if metadata.get("route") == _HIDDEN:
        return
    schemas = _read_schemas(endpoint.metadata)
    for asked in _list_asked(metadata):
        route = {"method": "POST", "tags": [info.name], **_read_texts(metadata), **asked}
        if description := clean(route.get("description") or endpoint.metadata.get("description")):
            route["description"] = description
        notes = _complete(route, info, endpoint, tokens)
        _add_schemas(route, schemas)
        _add_reply(route, metadata, endpoint)
        yield route, notes


def _read_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata about HTTP, without their prefix."""
    found = {key.removeprefix(_PREFIX): value for key, value in metadata.items() if key.startswith(_PREFIX)}
    for key in found:
        if key not in KNOWN:
            known = [f"{_PREFIX}{one}" for one in KNOWN]
            raise Wrong(f"{_PREFIX}{key}: there is no such key{suggest(f'{_PREFIX}{key}', known)}")
    if "route" in found and "routes" in found:
        raise Wrong("it has either http.route or http.routes")
    return found


def _find_lookalikes(metadata: Mapping[str, str]) -> Iterator[str]:
    """Texts about keys that are not used, but look like those about HTTP."""
    for key in metadata:
        plain = key.lower().replace("_", ".").replace("-", ".").removeprefix(_PREFIX)
        if not key.startswith(_PREFIX) and plain in KNOWN and (plain in ("method", "path") or "http" in key.lower()):
            yield f"its metadata `{key}` is not used, did you mean `{_PREFIX}{plain}`?"


def _read_texts(metadata: Mapping[str, str]) -> dict[str, Any]:
    texts: dict[str, Any] = {key: metadata[key] for key in _TEXTS if key in metadata}
    if "method" in texts:
        methods = [method.strip().upper() for method in texts["method"].split(",")]
        texts["method"] = methods if len(methods) > 1 else methods[0]
    if "auth" in metadata:
        texts["auth"] = read_json(metadata["auth"], "http.auth") if metadata["auth"][:1] in "{[" else metadata["auth"]
    return texts


def _list_asked(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """The keys of each route that the endpoint asks for."""
    if "routes" not in metadata and "route" not in metadata:
        return [{}]
    key = "routes" if "routes" in metadata else "route"
    found = clean_texts(read_json(metadata[key], f"{_PREFIX}{key}"))
    asked = found if key == "routes" else [found]
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise Wrong(f"{_PREFIX}{key}: must be a JSON {'list of objects' if key == 'routes' else 'object'}")
    if len(asked) > _MAX_ROUTES:
        raise Wrong(f"{_PREFIX}{key}: there are more than {_MAX_ROUTES} routes")
    for one in asked:
        for name in one:
            if name not in FREE:
                hint = suggest(name, FREE) or ": only the route file can set it"
                raise Wrong(f"{_PREFIX}{key}: a service can't set the key {name!r}{hint}")
    refuse_files(asked, f"{_PREFIX}{key}")
    return asked


def _complete(route: dict[str, Any], info: Info, endpoint: Endpoint, tokens: Sequence[str]) -> list[str]:
    """Add the path and the subject, as far as they are missing. Returns notes."""
    notes: list[str] = []
    path = route.get("path")
    if path is None:
        name = endpoint.name.removeprefix(f"{info.name}.")
        segments = [_escape(info.name), *map(_escape, name.split("."))]
        if segments != [info.name, *name.split(".")]:
            notes.append("a path can't have its name: other characters are ~ and their bytes in hexadecimal")
        path = route["path"] = "/".join(["", *segments, *_name_wildcards(tokens)])
    if not isinstance(path, str):
        raise Wrong("the path must be a text")
    try:
        parse_path(path)
    except ValueError as error:
        raise Wrong(str(error)) from None
    given = route.get("subject")
    if given is None:
        route["subject"] = _fill(endpoint.subject, tokens, path)
    elif not isinstance(given, str) or not _is_within(given.split("."), tokens):
        raise Wrong(f"the subject {given!r} does not belong to the endpoint's subject {endpoint.subject}")
    return notes


def _name_wildcards(tokens: Sequence[str]) -> list[str]:
    """The segments of a path for the wildcards of a subject."""
    wildcards = [token for token in tokens if token in _WILDCARDS]
    return [f"{{token{number}}}" if word == _ANY else "{tail...}" for number, word in enumerate(wildcards, 1)]


def _fill(subject: str, tokens: Sequence[str], path: str) -> str:
    """The subject with the parameters of the path in place of its wildcards, in their order."""
    names = [segment for segment in path.split("/") if PLACEHOLDER.fullmatch(segment) or TAIL.fullmatch(segment)]
    wildcards = [token for token in tokens if token in _WILDCARDS]
    if len(names) != len(wildcards):
        cure = "each needs one" if len(names) > len(wildcards) else "http.subject says which is which"
        raise Wrong(
            f"its path {path} has {_count(names, 'parameter')}, and its subject {subject} has "
            f"{_count(wildcards, 'wildcard')}: {cure}"
        )
    for name, wildcard in zip(names, wildcards, strict=True):
        if (wildcard == _REST) != (TAIL.fullmatch(name) is not None):
            raise Wrong(f"in its path {path} a tail such as {{path...}} is for the wildcard '>', and only for this")
    left = iter(names)
    return ".".join(next(left) if token in _WILDCARDS else token for token in tokens)


def _count(found: Sequence[str], word: str) -> str:
    return f"1 {word}" if len(found) == 1 else f"{len(found)} {word}s"


def _is_within(given: Sequence[str], tokens: Sequence[str]) -> bool:
    """Whether all subjects of this template are among those of the endpoint."""
    if tokens[-1] == _REST:
        return len(given) >= len(tokens) and _is_within(given[: len(tokens) - 1], tokens[:-1])
    if len(given) != len(tokens):
        return False
    return all(
        own == wanted or (wanted == _ANY and own != _REST and not TAIL.fullmatch(own))
        for own, wanted in zip(given, tokens, strict=True)
    )


def _read_schemas(metadata: Mapping[str, str]) -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for key in ("request_schema", "response_schema"):
        if key in metadata:
            schema = clean_texts(read_json(metadata[key], key))
            if not isinstance(schema, dict | bool):
                raise Wrong(f"{key}: must be a JSON Schema")
            schemas[key] = schema
    return schemas


def _add_schemas(route: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Add the schemas of the metadata. That of a request is for bodies."""
    methods = route["method"] if isinstance(route["method"], list) else [route["method"]]
    has_body = route.get("payload") in ("body", "merge") or (
        route.get("payload") is None and not {"POST", "PUT", "PATCH"}.isdisjoint(map(str, methods))
    )
    if "request_schema" in schemas and has_body:
        route.setdefault("body_schema", schemas["request_schema"])
    if "response_schema" in schemas:
        _set_reply(route, "schema", schemas["response_schema"])


def _add_reply(route: dict[str, Any], metadata: Mapping[str, str], endpoint: Endpoint) -> None:
    if "status" in metadata:
        if not re.fullmatch(r"2\d\d", metadata["status"]):
            raise Wrong("http.status: must be a status from 200 to 299")
        _set_reply(route, "status", int(metadata["status"]))
    _set_reply(route, "content_type", endpoint.metadata.get("format") or AUTO)


def _set_reply(route: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of `reply`, unless the service has set it itself."""
    reply = route.setdefault("reply", {})
    if isinstance(reply, dict):
        reply.setdefault(key, value)


def _escape(name: str) -> str:
    """A segment of a path for a name."""
    return "".join(
        character if _LITERAL.fullmatch(character) else "".join(f"~{byte:02X}" for byte in character.encode())
        for character in name
    )


def _choose_name(service: str, endpoint: str, names: set[str]) -> str:
    """The name of a route, which no other route of the service has."""
    own = endpoint.removeprefix(f"{service}.")
    base = _NAME.sub("-", f"{service}-{own}").strip("-")[:_MAX_NAME] or "service"
    name, number = base, 1
    while name in names:
        number += 1
        name = f"{base[: _MAX_NAME - 5]}-{number}"
    names.add(name)
    return name
