"""The route file: YAML to routes, strictly. Every error is told at once, each with file, line, column, key path, value,
and what would be right. docs/routes.md is the reference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..collector import collector_off
from ..formats.schemas import Json, parse_json
from ..formats.shared_schemas import SharedSchemas
from ..formats.variables import Look
from ..formats.words import find_close, suggest
from ..routing.routes import Route, RouteError
from ..routing.table import RouteTable, TableError
from ..routing.words import sends_body
from ..settings import find_variable
from .about import ContactModel, InfoModel, LicenseModel, ServerModel, TagModel
from .diagnostics import Diagnostics
from .model import (
    FREE,
    DefaultsModel,
    FileModel,
    HeaderModel,
    ParameterModel,
    ReplyModel,
    RouteModel,
    StatusModel,
    to_route,
)
from .schemas import RouteFileError as RouteFileError
from .schemas import SchemaFile, SchemaReader
from .yamltree import Path as KeyPath
from .yamltree import Tree, YamlError, parse_yaml

RESERVED = (
    "docs",
    "redoc",
    "openapi.json",
    "livez",
    "readyz",
    "healthz",
    "problems",
)  # the gateway's own first segments
GREET, EXAMPLES = (Path(__file__).with_name(name) for name in ("greet.yaml", "examples.yaml"))

MAX_FILE = 64 * 1024 * 1024  # bytes

# Mappings whose keys a route adds to those of `defaults`.
_JOINED: Mapping[str, Any] = {
    "params": {},
    "send_headers": {},
    "reply": {"errors": {}, "set_headers": {}, "statuses": {}},
}
_OF_BODIES = ("accepts", "max_body", "body_schema")
# While one of these is wrong, what else is wrong with a route can't be told.
_ESSENTIAL = frozenset(("name", "method", "path", "subject", "params", "payload"))
_WORDS = {
    "string_type": "must be a text; put it into quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "missing": "is missing",
}

# What keys are called in other formats.
_OTHER_NAMES = {
    "location": "in",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
    "methods": "method",
}

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Info:
    """What the API is called in its documentation; an empty version is that of the gateway."""

    title: str = "NATS HTTP gateway"
    version: str = ""
    description: str = ""
    more: Mapping[str, Json] = field(default_factory=dict)
    """`contact` and `license`, as OpenAPI has them, where they are given."""


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A route file that is right. `declared` has the routes as they are written, each with what it has from `defaults`;
    their schemas are in `schemas`, where those are shared or stand in files. `servers` and `tags` are as OpenAPI has
    them. `files` are all that it was read from, itself first."""

    table: RouteTable
    info: Info
    declared: Sequence[Json]
    schemas: SharedSchemas = field(default_factory=SharedSchemas)
    servers: Sequence[Json] = ()
    tags: Sequence[Json] = ()
    files: Sequence[Path] = ()


def load_route_file(path: Path) -> RouteFile:
    """Read and check a file. Raises RouteFileError."""
    files = {path: None}  # in order

    def read_file(name: str) -> SchemaFile:
        files[path.parent / name] = None
        return _read_schema_file(path.parent / name, name)

    with collector_off():
        try:
            tree = _read(path, str(path), find_variable)
            return replace(_Builder(tree, str(path), read_file).build(), files=tuple(files))
        except RouteFileError as error:
            raise RouteFileError(error.faults, tuple(files)) from None


def _read_schema_file(path: Path, name: str) -> SchemaFile:
    if path.suffix == ".json":
        data = _read_bytes(path, name)
        try:
            return SchemaFile(parse_json(data), lambda: parse_yaml(data))
        except ValueError as error:
            raise RouteFileError([f"{name}: {error}"]) from None
    tree = _read(path, name)
    if tree.faults:
        raise RouteFileError([f"{name}:{fault.mark.line}:{fault.mark.column}: {fault.text}" for fault in tree.faults])
    return SchemaFile(tree.data, lambda: tree)


def _read(path: Path, name: str, look: Look | None = None) -> Tree:
    try:
        return parse_yaml(_read_bytes(path, name), look)
    except YamlError as error:
        raise RouteFileError([f"{name}:{error.mark.line}:{error.mark.column}: {error}"]) from None


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # the latter for a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RouteFileError([f"{name}: {reason.lower()}"]) from None
    if len(data) > MAX_FILE:
        raise RouteFileError([f"{name}: it has more than {MAX_FILE} bytes"])
    return data


class _Builder:
    """Builds from one tree, and collects what is wrong on the way."""

    def __init__(self, tree: Tree, name: str, read_file: Callable[[str], SchemaFile]) -> None:
        self._tree = tree
        self._diagnostics = Diagnostics(tree, name)
        self._schemas = SchemaReader(self._diagnostics, read_file)

    def build(self) -> RouteFile:
        """Raises RouteFileError."""
        whole = self._tree.data
        if isinstance(whole, dict):
            whole = {key: value for key, value in whole.items() if not key.startswith(FREE)}
        data = whole if isinstance(whole, dict) else {}
        declared = data.get("routes")
        declared = declared if isinstance(declared, list) else []
        if declared:
            whole = {**data, "routes": declared[:1]}  # each comes later
        about = self._validate(FileModel, whole, (), skipped=("routes", "defaults", "info"))[1]
        info = self._validate(InfoModel, data.get("info", {}), ("info",))[0]
        self._schemas.read_shared(data.get("schemas"))
        defaults = self._validate(DefaultsModel, data.get("defaults", {}), ("defaults",))[1]
        defaults = self._check_schemas(defaults, ("defaults",)) if isinstance(defaults, dict) else defaults
        resolved = [self._resolve(defaults, route, index) for index, route in enumerate(declared)]
        routes = {index: route for index, raw in enumerate(resolved) if (route := self._build_route(raw, index))}
        table = self._build_table(routes)
        if self._diagnostics.faults or table is None or info is None:
            raise RouteFileError(self._diagnostics.faults)
        return RouteFile(
            table,
            _to_info(info),
            resolved,
            self._schemas.shared,
            servers=_list_entries(about, "servers"),
            tags=_list_entries(about, "tags"),
        )

    def _resolve(self, defaults: Json, route: Json, index: int) -> Json:
        """The route with what it has from `defaults`. Its schemas are right."""
        if not isinstance(route, dict):
            return route
        inherited = _choose_defaults(defaults, route) if isinstance(defaults, dict) else {}
        return self._check_schemas(_join(inherited, route, _JOINED), ("routes", index))

    def _check_schemas(self, declared: dict[str, Json], path: KeyPath) -> dict[str, Json]:
        """What is declared, with its schemas or with `true` for those that are wrong, which are reported."""
        checked = dict(declared)
        if "body_schema" in declared:
            checked["body_schema"] = self._schemas.check(declared["body_schema"], (*path, "body_schema"))
        if isinstance(reply := declared.get("reply"), dict):
            checked["reply"] = self._check_reply(reply, (*path, "reply"))
        return checked

    def _check_reply(self, reply: dict[str, Json], path: KeyPath) -> dict[str, Json]:
        checked = self._check_schema(reply, path)
        if isinstance(statuses := reply.get("statuses"), dict):
            checked["statuses"] = {
                status: self._check_schema(told, (*path, "statuses", status)) if isinstance(told, dict) else told
                for status, told in statuses.items()
            }
        return checked

    def _check_schema(self, described: dict[str, Json], path: KeyPath) -> dict[str, Json]:
        if "schema" not in described:
            return {**described}
        return {**described, "schema": self._schemas.check(described["schema"], (*path, "schema"))}

    def _build_route(self, raw: Json, index: int) -> Route | None:
        path: KeyPath = ("routes", index)
        model, _ = self._validate(RouteModel, raw, path, essential=_ESSENTIAL)
        if model is None:
            return None
        try:
            return to_route(model, self._schemas.shared)
        except RouteError as error:
            for fault in error.faults:
                self._diagnostics.add_fault((*path, *fault.key), fault.text)
            return None

    def _build_table(self, routes: Mapping[int, Route]) -> RouteTable | None:
        places = list(routes)
        try:
            return RouteTable(routes.values(), reserved=RESERVED)
        except TableError as error:
            for number, fault in error.faults:
                self._diagnostics.add_fault(("routes", places[number], *fault.key), fault.text)
            return None

    def _validate(
        self,
        kind: type[_M],
        raw: Json,
        path: KeyPath,
        *,
        skipped: Sequence[str] = (),
        essential: frozenset[str] = frozenset(),
    ) -> tuple[_M | None, Json]:
        """The model of a mapping, and the mapping, both without what is wrong there, which is reported. No model where
        something essential is wrong. What is skipped is only asked for."""
        try:
            return kind.model_validate(raw), raw
        except ValidationError as error:
            found = [
                detail
                for detail in error.errors()
                if not set(detail["loc"][:1]) & set(skipped) or len(detail["loc"]) == 1
            ]
        misspelled = {hint for detail in found if (hint := _find_meant(kind, detail))}
        for detail in found:
            if detail["type"] != "missing" or detail["loc"] not in misspelled:
                self._report_detail(kind, detail, path)
        wrong = {str(detail["loc"][0]) for detail in found if detail["loc"]}
        if not isinstance(raw, dict) or wrong & essential or not found:
            return None, {}
        rest = {key: value for key, value in raw.items() if key not in wrong}
        try:
            return kind.model_validate(rest), rest
        except ValidationError:
            return None, rest

    def _report_detail(self, kind: type[BaseModel], detail: ErrorDetails, base: KeyPath) -> None:
        path = (*base, *(part for part in detail["loc"] if part != "[key]"))
        if detail["type"] == "extra_forbidden":
            known = _list_keys(kind, detail["loc"][:-1])
            hint = suggest(str(path[-1]), known, _OTHER_NAMES) or f"; known are {', '.join(known)}"
            self._diagnostics.add(path, f"unknown key{hint}", of_key=True)
        else:
            self._diagnostics.add(path, _describe(detail), None if detail["type"] == "missing" else detail["input"])


def _find_meant(kind: type[BaseModel], detail: ErrorDetails) -> tuple[int | str, ...] | None:
    """Of a key that is not known: where the key would stand that may be meant."""
    if detail["type"] != "extra_forbidden":
        return None
    *location, word = detail["loc"]
    close = find_close(str(word), _list_keys(kind, location), _OTHER_NAMES)
    return (*location, close) if close else None


def _to_info(model: InfoModel) -> Info:
    more = model.model_dump(include={"contact", "license_"}, by_alias=True, exclude_none=True, exclude_defaults=True)
    return Info(model.title, model.version, model.description, more)


def _list_entries(data: Json, key: str) -> list[Json]:
    """Mappings without their texts that are empty."""
    entries = data.get(key) if isinstance(data, dict) else None
    return [
        {name: value for name, value in entry.items() if value}
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
    ]


def _choose_defaults(defaults: Mapping[str, Json], route: Mapping[str, Json]) -> dict[str, Json]:
    """What a route has from `defaults`: nothing about bodies if it sends none, and no parameter of another path."""
    chosen = dict(defaults)
    methods = route.get("method")
    payload = route.get("payload", defaults.get("payload"))
    if not sends_body(payload, methods if isinstance(methods, list) else [methods]):
        chosen = {key: value for key, value in chosen.items() if key not in _OF_BODIES}
    params = chosen.get("params")
    if isinstance(params, dict):
        chosen["params"] = {
            name: rules
            for name, rules in params.items()
            if not (isinstance(rules, dict) and rules.get("in") == "path") or f"{{{name}}}" in str(route.get("path"))
        }
    return chosen


def _join(defaults: Mapping[str, Json], own: Mapping[str, Json], joined: Mapping[str, Any]) -> dict[str, Json]:
    result = dict(defaults)
    for key, value in own.items():
        inherited = defaults.get(key)
        is_joined = key in joined and isinstance(value, dict) and isinstance(inherited, dict)
        result[key] = _join(inherited, value, joined[key]) if is_joined else value  # type: ignore[arg-type]
    return result


def _describe(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        choices = [choice.strip("' ") for choice in expected.replace(" or ", ",").split(",")]
        return f"must be {expected}{suggest(str(detail['input']), choices)}"
    return _WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))


def _list_keys(kind: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that can stand at this place of a mapping."""
    inner: dict[object, type[BaseModel]] = {
        "params": ParameterModel,
        "reply": ReplyModel,
        "headers": HeaderModel,
        "statuses": StatusModel,
        "contact": ContactModel,
        "license": LicenseModel,
        "servers": ServerModel,
        "tags": TagModel,
    }
    for part in location:
        kind = inner.get(part, kind)
    return [field.alias or name for name, field in kind.model_fields.items()]
