"""The schemas of a route file: shared ones, those of routes, and those in files. Each is read and checked once, however
many routes have it, and what is wrong with it is told once, at its own place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from ..errors import CannotStart
from ..formats.schemas import DRAFT, Json
from ..formats.shared_schemas import Faults, SharedSchemas
from .diagnostics import Diagnostics
from .yamltree import Path, Tree, YamlError


class RouteFileError(CannotStart):
    """A route file is wrong; `faults` has a line for each. `files` are those that it was to be read from, as far as is
    known."""

    def __init__(self, faults: Sequence[str], files: Sequence[FilePath] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
        self.files = tuple(files)


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """What is in a file, and how to find out where in it."""

    data: Json
    read_tree: Callable[[], Tree]


class SchemaReader:
    """Reads and checks schemas, and reports what is wrong with them."""

    def __init__(self, diagnostics: Diagnostics, read_file: Callable[[str], SchemaFile]) -> None:
        """`read_file` raises RouteFileError."""
        self._diagnostics = diagnostics
        self._read_file = read_file
        self._named: dict[str, Json] = {}
        self._files: dict[str, Json] = {}
        self._sources: dict[str, SchemaFile] = {}
        self._verdicts: dict[str, bool] = {}  # on files
        self._reported: dict[int, Json] = {}
        self._wrong: set[str] = set()  # shared ones
        self.shared = SharedSchemas(self._named, self._files)

    def read_shared(self, declared: Json) -> None:
        """`schemas` of the route file. What is no schema at all is left to others, and has its name all the same."""
        given = declared if isinstance(declared, dict) else {}
        for name, value in given.items():
            schema = self._load(value, ("schemas", name)) if isinstance(value, str) else value
            self._named[name] = schema if isinstance(schema, dict | bool) else True
        for name, value in given.items():
            self._check_draft(name)
            if self.check(value, ("schemas", name)) is not value:
                self._wrong.add(name)

    def check(self, value: Json, path: Path) -> Json:
        """The same value, or `true` if the schema, or one that it refers to, is wrong. What is no schema at all is
        left to others."""
        if isinstance(value, str):
            return value if self._is_right_file(value, path) else True
        if not isinstance(value, dict | bool):
            return value
        if id(value) in self._reported:
            return True
        faults = self.shared.find_faults(value)
        for place, text in faults:
            self._diagnostics.add_fault((*path, *place), text)
        if faults:
            self._reported[id(value)] = value
        return True if faults or self._leads_to_wrong(value) else value

    def _is_right_file(self, name: str, path: Path) -> bool:
        schema = self._load(name, path)
        if name not in self._verdicts:
            faults = self.shared.find_faults(schema)
            self._verdicts[name] = not faults and not self._leads_to_wrong(schema)
            self._report(name, path, self._locate(name, faults) if faults else ())
        return self._verdicts[name]

    def _load(self, name: str, path: Path) -> Json:
        """What is in a file, or `true`. It is read once."""
        if name not in self._files:
            self._files[name] = True
            try:
                self._sources[name] = self._read_file(name)
                self._files[name] = self._sources[name].data
            except RouteFileError as error:
                self._verdicts[name] = False
                self._report(name, path, error.faults)
        return self._files[name]

    def _locate(self, name: str, faults: Faults) -> Sequence[str]:
        """The faults of a file, with their places in it."""
        try:
            tree = self._sources[name].read_tree()
        except YamlError:
            tree = Tree()
        told = Diagnostics(tree, name)
        for place, text in faults:
            told.add_fault(place, text)
        return told.faults

    def _report(self, name: str, path: Path, faults: Sequence[str]) -> None:
        for fault in faults:
            self._diagnostics.add(path, fault, name)

    def _check_draft(self, name: str) -> None:
        schema = self._named[name]
        if isinstance(schema, dict) and schema.get("$schema", DRAFT) != DRAFT:
            self._diagnostics.add_fault(("schemas", name, "$schema"), f"schemas that routes share are of {DRAFT}")
            self._wrong.add(name)

    def _leads_to_wrong(self, value: Json) -> bool:
        return bool(self._wrong) and not self._wrong.isdisjoint(self.shared.list_names(value))
