"""References in JSON Schemas: where they are, what they refer to, and how to write them for another document. Pure.

Laws:
1. A reference names a place in its own schema, or a shared schema: `#/schemas/Order`. Nothing is fetched.
2. The values of `const`, `enum`, `default` and `examples` are data: a `$ref` in them is not a reference.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urldefrag, urljoin

from .schemas import Json
from .words import suggest

Path = tuple[str | int, ...]

SHARED = "#/schemas/"

_DATA = frozenset(("const", "enum", "default", "examples", "example"))
# The keys of these keywords are names.
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"))
_OF_ITS_OWN_FILE = frozenset(("$schema", "$id", "$anchor"))
_UNRESERVED = "/~!$&'()*+,;=:@?"
_ALLOWED = f"a reference leads to a place in the same schema (`#/…`) or to `{SHARED}NAME`"


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a reference: a place in the shared schema of this name, or in the schema itself (None)."""

    name: str | None
    path: Path


@dataclass(frozen=True, slots=True)
class _Subschema:
    """One mapping in a schema. References such as `#/…` in it begin at `base`, and `uri` is the `$id` of that place."""

    path: Path
    keywords: Mapping[str, Json]
    base: Path
    uri: str


@dataclass(slots=True)
class References:
    """The references of one schema, by the places of the mappings that contain them. `faults` has those without a
    target."""

    targets: dict[Path, Target] = field(default_factory=dict)
    faults: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The shared schemas that it refers to, each once."""
        return list(dict.fromkeys(target.name for target in self.targets.values() if target.name is not None))


def read_references(document: Json, shared: Mapping[str, Json]) -> References:
    """All references of a schema. `shared` has the schemas that it may name."""
    found = References()
    subschemas = list(_walk(_Subschema((), {}, (), ""), document))
    resources = {subschema.uri: subschema.base for subschema in reversed(subschemas)} | {"": ()}
    anchors = {
        (subschema.base, anchor): subschema.path
        for subschema in subschemas
        for keyword in ("$anchor", "$dynamicAnchor")
        if isinstance(anchor := subschema.keywords.get(keyword), str)
    }
    for subschema in subschemas:
        text = subschema.keywords.get("$ref")
        if not isinstance(text, str):
            continue  # the compiler reports it
        try:
            if text.startswith(SHARED):
                target = _find_shared(text, shared)
            else:
                target = Target(None, _find_local(text, subschema, document, resources, anchors))
            found.targets[subschema.path] = target
        except ValueError as error:
            found.faults.append(((*subschema.path, "$ref"), str(error)))
    return found


def rewrite(document: Json, references: References, write: Callable[[Target], str]) -> Json:
    """The schema as a part of another document, where `write` says how each reference is written. It has no `$schema`,
    `$id` or `$anchor`, and no references without a target."""
    return _rewrite(document, (), references, write)


def write_pointer(base: str, path: Path) -> str:
    """The URI fragment of a place (RFC 6901 §6), after `base`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return base + "".join(f"/{quote(part, safe=_UNRESERVED)}" for part in parts)


def _walk(place: _Subschema, document: Json) -> Iterator[_Subschema]:
    """Every mapping that may be a schema, at this place and in it."""
    if isinstance(document, list):
        for index, item in enumerate(document):
            yield from _walk(_Subschema((*place.path, index), {}, place.base, place.uri), item)
    if not isinstance(document, dict):
        return
    base, uri, own = place.base, place.uri, document.get("$id")
    if isinstance(own, str) and not own.startswith("#"):
        base, uri = place.path, urldefrag(urljoin(uri, own)).url
    yield _Subschema(place.path, document, base, uri)
    for path, value in _list_inner(document):
        yield from _walk(_Subschema((*place.path, *path), {}, base, uri), value)


def _list_inner(document: Mapping[str, Json]) -> Iterator[tuple[Path, Json]]:
    """The schemas directly in this one, and lists of schemas."""
    for key, value in document.items():
        if key in _NAMED and isinstance(value, dict):
            yield from (((key, name), inner) for name, inner in value.items())
        elif key not in _DATA:
            yield (key,), value


def _find_shared(text: str, shared: Mapping[str, Json]) -> Target:
    name, *parts = _split(text.removeprefix(SHARED))
    if name not in shared:
        hint = suggest(name, shared) or (f"; known are {', '.join(sorted(shared))}" if shared else "")
        raise ValueError(f"`schemas` has no `{name}`{hint}")
    if (path := _follow(shared[name], parts)) is None:
        raise ValueError(f"`{SHARED}{name}` has no such place")
    return Target(name, path)


def _find_local(
    text: str,
    place: _Subschema,
    document: Json,
    resources: Mapping[str, Path],
    anchors: Mapping[tuple[Path, str], Path],
) -> Path:
    uri, fragment = urldefrag(urljoin(place.uri, text)) if not text.startswith("#") else ("", text[1:])
    base = place.base if text.startswith("#") else resources.get(uri)
    if base is None:
        raise ValueError(_ALLOWED)
    if fragment and not fragment.startswith("/"):
        found = anchors.get((base, unquote(fragment)))
    else:
        found = _follow(document, [*map(str, base), *(_split(fragment[1:]) if fragment else ())])
    if found is None:
        raise ValueError(f"the schema has no such place; {_ALLOWED}")
    return found


def _split(pointer: str) -> list[str]:
    return [unquote(part).replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _follow(document: Json, parts: Sequence[str]) -> Path | None:
    """The path that these parts of a pointer follow. None if it does not end at a schema."""
    path: list[str | int] = []
    for part in parts:
        if isinstance(document, dict) and part in document:
            document = document[part]
            path.append(part)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
            path.append(int(part))
        else:
            return None
    return tuple(path) if isinstance(document, dict | bool) else None


def _rewrite(document: Json, path: Path, references: References, write: Callable[[Target], str]) -> Json:
    if isinstance(document, list):
        return [_rewrite(item, (*path, index), references, write) for index, item in enumerate(document)]
    if not isinstance(document, dict):
        return document
    written: dict[str, Json] = {}
    for key, value in document.items():
        if key == "$ref" and isinstance(value, str):
            if target := references.targets.get(path):
                written[key] = write(target)
        elif key in _NAMED and isinstance(value, dict):
            written[key] = {
                name: _rewrite(inner, (*path, key, name), references, write) for name, inner in value.items()
            }
        elif key in _DATA:
            written[key] = value
        elif key not in _OF_ITS_OWN_FILE:
            written[key] = _rewrite(value, (*path, key), references, write)
    return written
