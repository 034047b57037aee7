"""Writes the routes of services into a route file, for a person to go on with.

Laws:
1. What a person wrote does not change: lines are only added, behind the last route.
2. A route is added only if the file has no route of this name, and no route of this method and path.
3. The file is replaced only if the new one is valid.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .endings import CommandError

if TYPE_CHECKING:
    from .discover_command import Drafts

_ROUTES = re.compile(r"routes:[ \t]*(#.*)?")
_ITEM = re.compile(r"([ \t]*)-( |$)")
_INDENT = "  "


def write_routes(path: Path, drafts: "Drafts") -> tuple[int, int]:
    """Write the file, or add to it. Returns the number of routes that were added, and of those that were there. Raises
    CommandError."""
    from ..routefile.load import RouteFileError, load_route_file

    before = _read(path)
    declared: Sequence[Any] = ()
    if before:
        try:
            declared = load_route_file(path).declared
        except RouteFileError as error:
            raise CommandError(f"{error}\n{path}: nothing was written, since it has faults") from None
    names, places = _list_taken(declared)
    fresh = [
        (service, endpoint, route)
        for (service, endpoint), routes in drafts.routes.items()
        for route in routes
        if route["name"] not in names and places.isdisjoint(_list_places(route))
    ]
    count = sum(len(routes) for routes in drafts.routes.values())
    if not fresh:
        return 0, count
    text = _insert(path, before or "version: 1\n", lambda indent: list(_write_all(drafts, fresh, indent)))
    _replace(path, text)
    return len(fresh), count - len(fresh)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from None


def _list_taken(declared: Sequence[Any]) -> tuple[set[str], set[tuple[str, str]]]:
    names = {route["name"] for route in declared}
    return names, {place for route in declared for place in _list_places(route)}


def _list_places(route: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The methods of a route, each with its path. The names of parameters do not count."""
    methods = route["method"] if isinstance(route["method"], list) else [route["method"]]
    path = re.sub(r"\{[^{}]*\}", "{}", route["path"])
    return {(method, path) for method in methods}


def _insert(path: Path, text: str, write: Callable[[str], list[str]]) -> str:
    """The text with more lines behind its last route."""
    lines = text.rstrip("\n").split("\n")
    start = next((number for number, line in enumerate(lines) if _ROUTES.fullmatch(line.rstrip())), None)
    if start is None:
        if any(line.startswith("routes:") for line in lines):
            raise CommandError(f"{path}: its routes are in one line. Write each on a line of its own, with `-` before")
        return "\n".join([*lines, "routes:", *write(_INDENT)[1:], ""])
    end, indent = start + 1, None
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if item := _ITEM.match(line):
            indent = item[1] if indent is None else indent
        elif line[:1] not in ("", " ", "\t", "#"):
            break
        if line.strip() and not line.startswith("#"):
            end = number + 1
    return "\n".join([*lines[:end], *write(_INDENT if indent is None else indent), *lines[end:], ""])


def _write_all(drafts: "Drafts", fresh: Sequence[tuple[str, str, Mapping[str, Any]]], indent: str) -> Iterator[str]:
    services = {service.info.name: service.info for service in drafts.services}
    for service, endpoint, route in fresh:
        about = next(one for one in services[service].endpoints if one.name == endpoint)
        yield ""
        yield f"{indent}# {service} {services[service].version}, endpoint {endpoint}"
        for note in _list_notes(about.metadata, route, drafts.notes.get(route["name"], ())):
            yield f"{indent}# Please look: {note}."
        written = yaml.safe_dump([_escape(dict(route))], sort_keys=False, allow_unicode=True, width=110)
        yield from (f"{indent}{line}" for line in written.rstrip("\n").split("\n"))


def _escape(value: Any) -> Any:
    """The value with `${…}` as text: in a route file it would be a variable of the environment."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_escape(one) for one in value]
    return {key: _escape(one) for key, one in value.items()} if isinstance(value, dict) else value


def _list_notes(metadata: Mapping[str, str], route: Mapping[str, Any], notes: Sequence[str]) -> Iterator[str]:
    """What a person should look at."""
    if not any(key.startswith("http.") for key in metadata):
        yield "the service does not say which method and path it wants"
        if "{token1}" in route["path"]:
            yield "`token1` could have a better name"
    yield from notes


def _replace(path: Path, text: str) -> None:
    """Replace the file, if the new one is valid. Raises CommandError."""
    from ..routefile.load import RouteFileError, load_route_file

    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            fresh.chmod(path.stat().st_mode & 0o7777)
        else:
            fresh.chmod(0o644)
        try:
            load_route_file(fresh)
        except RouteFileError as error:
            faults = str(error).replace(str(fresh), str(path))
            raise CommandError(f"{faults}\n{path}: nothing was written, since it would have these faults") from None
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
