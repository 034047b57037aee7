"""The components of an OpenAPI document, to which operations refer. Pure.

Laws:
1. A schema of several routes is one component. A shared schema has its own name, and a schema in a file the name of the
   file.
2. Every reference leads to a component. The `$defs` of a schema become components too, since few tools follow a
   reference into them.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import PurePath

from ..formats.references import Path, Target, rewrite, write_pointer
from ..formats.schemas import Json
from ..formats.shared_schemas import SharedSchemas
from ..routing.routes import Route

_PREFIX = "#/components/schemas/"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")  # OpenAPI 3.1 §4.8.7
_DEFINITIONS = ("$defs", "definitions")


class Components:
    """Collects the schemas and responses of a document."""

    def __init__(self, routes: Iterable[Route], *, problem: Json) -> None:
        """The shared schemas of all routes get their names first."""
        self.schemas: dict[str, Json] = {}
        self.responses: dict[str, Json] = {}
        self._names: dict[int, str] = {}  # of components, by the ids of their documents
        self._waiting: list[tuple[Json, str]] = []
        self._taken: set[str] = set()
        self._inner: dict[tuple[str, str], str] = {}
        for route in routes:
            for name in route.schemas.list_names(route.body_schema, *route.reply.schemas.values()):
                self._taken.add(name)
                self._names.setdefault(id(route.schemas.named[name]), name)
        self.problem = self._choose_name("Problem")
        self.schemas[self.problem] = problem

    def describe(self, route: Route, kind: str, schema: Json, media_type: str) -> Json:
        """The schema of a body or a reply. Without a declared schema JSON may have any value, and any other type is a
        text or bytes."""
        if schema is None:
            return {} if _is_json(media_type) else _describe_bytes(media_type)
        document = route.schemas.find_whole(schema)
        if not isinstance(document, dict):
            return {} if document is True else document
        return {"$ref": _PREFIX + self._add(document, f"{route.name}.{kind}", route.schemas)}

    def _add(self, document: Json, wanted: str, schemas: SharedSchemas) -> str:
        """The name of the component of this schema. A new component is added, with all components that it refers to,
        directly or through others."""
        wanted_name = self._enlist(document, wanted, schemas)
        while self._waiting:
            waiting, name = self._waiting.pop()
            references = schemas.read(waiting)
            written = rewrite(waiting, references, partial(self._write, own=name, schemas=schemas))
            self.schemas[name] = self._take_definitions(written, name)
        return wanted_name

    def _enlist(self, document: Json, wanted: str, schemas: SharedSchemas) -> str:
        """The name of the component of this schema. A new component is put on the list of those to write."""
        name = self._names.get(id(document)) or self._choose_name(_find_stem(document, schemas) or wanted)
        self._names[id(document)] = name
        if name not in self.schemas:
            self.schemas[name] = None
            self._name_definitions(document, name)
            self._waiting.append((document, name))
        return name

    def _write(self, target: Target, *, own: str, schemas: SharedSchemas) -> str:
        name = own if target.name is None else self._enlist(schemas.named[target.name], target.name, schemas)
        return self._point(name, target.path)

    def _point(self, name: str, path: Path) -> str:
        if len(path) > 1 and path[0] in _DEFINITIONS:
            return self._point_into(name, path)
        return write_pointer(_PREFIX + name, path)

    def _point_into(self, name: str, path: Path) -> str:
        return write_pointer(_PREFIX + self._inner[name, str(path[1])], path[2:])

    def _name_definitions(self, document: Json, name: str) -> None:
        for key in _DEFINITIONS:
            inner = document.get(key) if isinstance(document, dict) else None
            for definition in inner if isinstance(inner, dict) else ():
                self._inner[name, definition] = self._choose_name(f"{name}.{definition}")

    def _take_definitions(self, written: Json, name: str) -> Json:
        """The schema without its definitions. They become components."""
        if not isinstance(written, dict):
            return written
        for key in _DEFINITIONS:
            inner = written.pop(key, None)
            for definition, schema in inner.items() if isinstance(inner, dict) else ():
                self.schemas[self._inner[name, definition]] = schema
        return written

    def _choose_name(self, wanted: str) -> str:
        clean = _NOT_IN_NAMES.sub("_", wanted)
        name, number = clean, 2
        while name in self._taken:
            name, number = f"{clean}-{number}", number + 1
        self._taken.add(name)
        return name


def _find_stem(document: Json, schemas: SharedSchemas) -> str:
    """The name of the file of this schema, without its ending. Empty if it is not in a file."""
    return next((PurePath(name).stem for name, schema in schemas.files.items() if schema is document), "")


def _is_json(media_type: str) -> bool:
    return media_type.partition(";")[0].strip().endswith(("/json", "+json"))


def _describe_bytes(media_type: str) -> Json:
    """The schema of a text or of bytes. Some generators still look for the `binary` of OpenAPI 3.0."""
    if media_type.startswith("text/"):
        return {"type": "string", "contentMediaType": media_type}
    named = "application/octet-stream" if "*" in media_type else media_type
    return {"type": "string", "format": "binary", "contentMediaType": named}
