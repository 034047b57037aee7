"""The schemas that routes share: named ones of a route file, and those in files of their own. Pure.

Laws:
1. Each schema is checked once and compiled once, however many routes and schemas refer to it.
2. The time to check a schema grows with its own length, whatever it refers to.
"""

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from .references import SHARED, Path, References, Target, read_references, rewrite, write_pointer
from .schema_costs import measure
from .schemas import DRAFT, Json, Schema, SchemaError, list_keyword_faults

Faults = tuple[tuple[Path, str], ...]
"""Places in a schema, each with what is wrong there."""

KEPT = 256  # schemas whose last use is remembered

_STUB = "stub"
_T = TypeVar("_T")


class SharedSchemas:
    """Schemas by their names in `schemas`, and by the paths of their files. In a valid schema every reference has a
    target."""

    def __init__(self, named: Mapping[str, Json] | None = None, files: Mapping[str, Json] | None = None) -> None:
        self.named = {} if named is None else named
        self.files = {} if files is None else files
        self._references: dict[int, tuple[Json, References]] = {}
        self._checked: dict[int, tuple[Json, Faults]] = {}
        self._compiled: dict[int, tuple[Json, Schema]] = {}
        self._closed: dict[str, Schema] = {}
        self._moved: dict[str, tuple[Json, list[str]]] = {}

    def resolve(self, schema: Json) -> Json:
        """The schema itself, or the schema in the file of this path. Raises KeyError for an unknown file."""
        return self.files[schema] if isinstance(schema, str) else schema

    def read(self, document: Json) -> References:
        """The references of a schema."""
        return _remember(self._references, document, lambda schema: read_references(schema, self.named))

    def find_faults(self, document: Json) -> Faults:
        """All faults of a schema, without those of the schemas that it refers to."""
        return _remember(self._checked, document, self._check)

    def compile(self, document: Json) -> Schema:
        """A schema for checking bodies. It must have no faults."""
        document = self.find_whole(document)
        return _remember(self._compiled, document, self._compile)

    def measure(self, document: Json) -> int:
        """The cost of a schema without faults: `formats.schema_costs` says what this is."""
        return measure(document, self.read, self.named)

    def list_names(self, *documents: Json) -> list[str]:
        """The names of all shared schemas that these refer to, directly or through others."""
        names = set()
        waiting = [name for document in documents for name in self.read(document).names]
        while waiting:
            if (name := waiting.pop()) not in names:
                names.add(name)
                waiting += self._move(name)[1]
        return [name for name in self.named if name in names]

    def find_whole(self, document: Json) -> Json:
        """The shared schema if this schema only refers to it, else this schema."""
        seen = set()
        while isinstance(document, dict) and list(document) == ["$ref"]:
            name = str(document["$ref"]).removeprefix(SHARED)
            if name not in self.named or name in seen:
                break
            seen.add(name)
            document = self.named[name]
        return document

    def _compile(self, document: Json) -> Schema:
        references = self.read(document)
        if not references.names:
            return Schema(document, cost=self.measure(document))
        text = json.dumps(document)
        if text not in self._closed:
            self._closed[text] = Schema(self._close(document, references), cost=self.measure(document))
        return self._closed[text]

    def _close(self, document: Json, references: References) -> Json:
        """The schema with all schemas that it refers to, as one document."""
        closed = rewrite(document, references, lambda target: _write(target, "#"))
        inner: dict[str, Json] = {name: self._move(name)[0] for name in self.list_names(document)}
        return {**closed, "schemas": inner} if isinstance(closed, dict) else closed

    def _move(self, name: str) -> tuple[Json, list[str]]:
        """A shared schema as a part of a document that has it in `schemas`, and the names that it refers to."""
        if name not in self._moved:
            document = self.named[name]
            references = self.read(document)
            moved = rewrite(document, references, lambda target: _write(target, SHARED + name))
            self._moved[name] = moved, references.names
        return self._moved[name]

    def _check(self, document: Json) -> Faults:
        if not isinstance(document, dict | bool):
            return (((), "not a JSON Schema: a schema is a mapping, true or false"),)
        references = self.read(document)
        found = [*references.faults, *_find_draft_faults(document, references)]
        try:
            Schema(_stub(document, references))
        except SchemaError as error:
            found += [(fault.path, str(fault)) for fault in list_keyword_faults(document) or [error]]
        return tuple(dict(reversed(found)).items())[::-1]


def _remember(kept: dict[int, tuple[Json, _T]], document: Json, make: Callable[[Json], _T]) -> _T:
    """The value that was made of this object before, or else a new one. The object is kept, so that no other object
    gets its id."""
    if found := kept.get(id(document)):
        return found[1]
    made = make(document)
    kept[id(document)] = document, made
    if len(kept) > KEPT:
        del kept[next(iter(kept))]
    return made


def _write(target: Target, own: str) -> str:
    return write_pointer(own if target.name is None else SHARED + target.name, target.path)


def _stub(document: Json, references: References) -> Json:
    """The schema, with a stub in place of each schema that it refers to."""
    if not isinstance(document, dict) or not (references.names or references.faults):
        return document
    written = rewrite(
        document,
        references,
        lambda target: write_pointer("#", target.path) if target.name is None else SHARED + _STUB,
    )
    draft = {"$schema": document["$schema"]} if "$schema" in document else {}
    return {**draft, **written, "schemas": {_STUB: True}} if isinstance(written, dict) else written


def _find_draft_faults(document: Json, references: References) -> list[tuple[Path, str]]:
    draft = document.get("$schema", DRAFT) if isinstance(document, dict) else DRAFT
    if draft == DRAFT or not references.names:
        return []
    return [(("$schema",), "a schema that refers to `schemas` must be of the draft 2020-12, as those are")]
