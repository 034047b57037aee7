"""Reads and checks the schemas of a route file: shared schemas, schemas of routes, and schemas in files. Each schema is
read and checked once, however many routes use it. Its faults are reported once, at their own places.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..formats.references import SHARED
from ..formats.schemas import DRAFT, Json
from ..formats.shared_schemas import Faults, SharedSchemas
from .diagnostics import Diagnostics
from .faults import RouteFileError
from .yamltree import Path, Tree, YamlError

_OUTSIDE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME = 64  # characters of the name of a shared schema
MAX_COST = 1000  # of a schema of a service (formats/schema_costs.py)


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """The schema in a file. `read_tree` parses the file again as YAML, to find the places of faults."""

    data: Json
    read_tree: Callable[[], Tree]


class SchemaReader:
    """Reads and checks schemas, and reports their faults."""

    def __init__(self, read_file: Callable[[str], SchemaFile]) -> None:
        """`read_file` raises RouteFileError."""
        self._read_file = read_file
        self._named: dict[str, Json] = {}
        self._places: dict[str, tuple[Json, Diagnostics]] = {}  # of shared ones: what is declared, and where
        self._files: dict[str, Json] = {}
        self._sources: dict[str, SchemaFile] = {}
        self._verdicts: dict[str, bool] = {}  # on files
        self._reported: dict[int, Json] = {}
        self._wrong: set[str] = set()  # shared ones
        self.shared = SharedSchemas(self._named, self._files)

    def add_shared(self, declared: Mapping[str, Json], diagnostics: Diagnostics) -> None:
        """Add `schemas` of one file. The model reports a value of the wrong type; its name counts as known all the
        same."""
        for name, value in declared.items():
            if name in self._places:
                where = self._places[name][1].name
                diagnostics.add(("schemas", name), f"{where} already has a schema of this name", of_key=True)
                continue
            self._places[name] = (value, diagnostics)
            schema = self._load(value, ("schemas", name), diagnostics) if isinstance(value, str) else value
            self._named[name] = schema if isinstance(schema, dict | bool) else True

    def check_shared(self) -> None:
        """Check all shared schemas. Call this after all of them have been added, since they may refer to each other."""
        for name, (value, diagnostics) in self._places.items():
            self._check_draft(name, diagnostics)
            if self.check(value, ("schemas", name), diagnostics) is not value:
                self._wrong.add(name)

    def check(self, value: Json, path: Path, diagnostics: Diagnostics) -> Json:
        """The same value, or `true` if the schema, or one that it refers to, is wrong. Faults are reported. A value of
        the wrong type is returned as it is; the model reports it."""
        if isinstance(value, str):
            return value if self._is_right_file(value, path, diagnostics) else True
        if not isinstance(value, dict | bool):
            return value
        if id(value) in self._reported:
            return True
        faults = self.shared.find_faults(value)
        for place, text in faults:
            diagnostics.add_fault((*path, *place), text)
        if faults:
            self._reported[id(value)] = value
        return True if faults or self._leads_to_wrong(value) else value

    def check_cost(self, diagnostics: Diagnostics, schema: Json, path: Path) -> Json:
        """The same right schema of a service. It is reported if it makes more work than MAX_COST."""
        if isinstance(schema, dict) and self.shared.measure(schema) > MAX_COST:
            text = f"it is too expensive to check: it could look at a value more than {MAX_COST} times"
            diagnostics.add_fault(("routes", 0, *path), text)
        return schema

    def share(self, label: str, schema: Json, path: Path) -> Json:
        """Make a right schema of a service one that routes share, and return the reference to it. Its name comes from
        the label and the key. If another has this name, returns the schema itself."""
        if not isinstance(schema, dict) or "$ref" in schema:
            return schema
        what = "request" if path == ("body_schema",) else ".".join(("response", *map(str, path[2:-1])))
        name = _OUTSIDE.sub("-", f"{label}.{what}")[-_MAX_NAME:]
        if self._named.setdefault(name, schema) != schema:
            return schema
        return {"$ref": f"{SHARED}{name}"}

    def _is_right_file(self, name: str, path: Path, diagnostics: Diagnostics) -> bool:
        schema = self._load(name, path, diagnostics)
        if name not in self._verdicts:
            faults = self.shared.find_faults(schema)
            self._verdicts[name] = not faults and not self._leads_to_wrong(schema)
            _report(name, path, self._locate(name, faults) if faults else (), diagnostics)
        return self._verdicts[name]

    def _load(self, name: str, path: Path, diagnostics: Diagnostics) -> Json:
        """The schema in a file, or `true` if the file can't be read. Each file is read once."""
        if name not in self._files:
            self._files[name] = True
            try:
                self._sources[name] = self._read_file(name)
                self._files[name] = self._sources[name].data
            except RouteFileError as error:
                self._verdicts[name] = False
                _report(name, path, error.faults, diagnostics)
        return self._files[name]

    def _locate(self, name: str, faults: Faults) -> Sequence[str]:
        """One line for each fault of a file, with its place in the file."""
        try:
            tree = self._sources[name].read_tree()
        except YamlError:
            tree = Tree()
        diagnostics = Diagnostics(tree, name)
        for place, text in faults:
            diagnostics.add_fault(place, text)
        return diagnostics.faults

    def _check_draft(self, name: str, diagnostics: Diagnostics) -> None:
        schema = self._named[name]
        if isinstance(schema, dict) and schema.get("$schema", DRAFT) != DRAFT:
            diagnostics.add_fault(("schemas", name, "$schema"), f"shared schemas must be of {DRAFT}")
            self._wrong.add(name)

    def _leads_to_wrong(self, value: Json) -> bool:
        return bool(self._wrong) and not self._wrong.isdisjoint(self.shared.list_names(value))


def change_schemas(declared: Mapping[str, Json], change: Callable[[Json, Path], Json]) -> dict[str, Json]:
    """A route, or `defaults`, with `change` applied to each of its schemas. `change` gets a schema and its key path."""
    changed = _change(declared, "body_schema", (), change)
    if isinstance(reply := declared.get("reply"), dict):
        inner = _change(reply, "schema", ("reply",), change)
        if isinstance(statuses := reply.get("statuses"), dict):
            inner["statuses"] = {
                status: _change(entry, "schema", ("reply", "statuses", status), change)
                if isinstance(entry, dict)
                else entry
                for status, entry in statuses.items()
            }
        changed["reply"] = inner
    return changed


def _change(
    described: Mapping[str, Json], key: str, path: Path, change: Callable[[Json, Path], Json]
) -> dict[str, Json]:
    return {**described, key: change(described[key], (*path, key))} if key in described else {**described}


def _report(name: str, path: Path, faults: Sequence[str], diagnostics: Diagnostics) -> None:
    for fault in faults:
        diagnostics.add(path, fault, name)
