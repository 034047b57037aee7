"""Reads a route file and all files that it includes.

Laws:
1. No file occurs twice, and no file includes itself, directly or through others.
2. There are at most MAX_FILES files, with at most MAX_BYTES together.
3. A fault of an `include` has the place of the `include`. A fault in a file names that file.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..formats.schemas import Json
from .diagnostics import Diagnostics
from .faults import RouteFileError
from .schemas import change_schemas
from .signatures import move_secret
from .yamltree import Tree

MAX_FILES = 1000
MAX_BYTES = 64 * 1024 * 1024

_MAGIC = re.compile(r"[*?[]")

ReadTree = Callable[[Path], tuple[Tree, int]]
"""The tree of a file, and its size in bytes. Raises RouteFileError."""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One of the files. `parent` is the file that includes it, None for the first file. `folder` is the folder of the
    file, relative to the folder of the first file."""

    path: Path
    folder: PurePath
    tree: Tree
    diagnostics: Diagnostics
    parent: "Document | None" = None

    def find(self, key: str) -> Json:
        """The value of a key at its top."""
        return self.tree.data.get(key) if isinstance(self.tree.data, dict) else None

    def move_files(self, declared: Mapping[str, Json]) -> dict[str, Json]:
        """A route, or `defaults`, with the names of its files relative to the folder of the first file."""
        return move_secret(change_schemas(declared, lambda schema, _: self.move_file(schema)), self.move_file)

    def move_file(self, schema: Json) -> Json:
        """The same for one schema: the name of a file is moved, and a schema is returned as it is."""
        return str(self.folder / schema) if isinstance(schema, str) else schema

    def list_parents(self) -> Iterator["Document"]:
        """This file, the one that includes it, and so on to the first."""
        document: Document | None = self
        while document is not None:
            yield document
            document = document.parent


def read_documents(path: Path, read: ReadTree, note_folder: Callable[[Path], None]) -> list[Document]:
    """All files: the first file comes first, and each file before the files that it includes. Raises RouteFileError if
    the first file can't be read. The faults of other files are in their diagnostics. `note_folder` is called with each
    folder that was searched for a pattern, since a new file there may match it."""
    reading = _Reading(read, note_folder)
    reading.open(path, None)
    while reading.pending:
        reading.include(reading.pending.pop())
    return list(reading.documents.values())


class _Reading:
    """The files that have been read, and those of them whose `include` has not been followed yet (`pending`)."""

    def __init__(self, read: ReadTree, note_folder: Callable[[Path], None]) -> None:
        self._read = read
        self._note_folder = note_folder
        self._bytes = 0
        self.documents: dict[Path, Document] = {}
        self.pending: list[Document] = []

    def open(self, path: Path, parent: Document | None) -> None:
        """Read a file and add it. Raises RouteFileError."""
        tree, size = self._read(path)
        self._bytes += size
        folder = parent.folder / _find_way(parent.path.parent, path.parent) if parent else PurePath()
        diagnostics = Diagnostics(tree, str(path), parent.diagnostics if parent else None)
        document = Document(path, folder, tree, diagnostics, parent)
        self.documents[_resolve(path)] = document
        self.pending.append(document)

    def include(self, document: Document) -> None:
        """Read the files that this one includes."""
        patterns = document.find("include")
        for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
            if isinstance(pattern, str):  # the model reports any other type
                try:
                    self._include(document, pattern)
                except RouteFileError as error:
                    for fault in error.faults:
                        document.diagnostics.add(("include", index), fault, pattern)

    def _include(self, document: Document, pattern: str) -> None:
        for path in self._expand(document.path, pattern):
            known = self.documents.get(_resolve(path))
            if known is not None and known in document.list_parents():
                raise RouteFileError([f"{path} would include itself"])
            if known is not None:
                raise RouteFileError([f"{path} is included by {known.parent and known.parent.path} already"])
            if len(self.documents) >= MAX_FILES:
                raise RouteFileError([f"there are more than {MAX_FILES} files"])
            self.open(path, document)
            if self._bytes > MAX_BYTES:
                raise RouteFileError([f"the files have more than {MAX_BYTES} bytes together"])

    def _expand(self, including: Path, pattern: str) -> list[Path]:
        """The files of an entry of `include`, sorted by name. A pattern never matches the file that contains it, or
        files whose names begin with a dot. Raises RouteFileError."""
        if not _MAGIC.search(pattern):
            return [including.parent / pattern]
        literal = itertools.takewhile(lambda part: not _MAGIC.search(part), PurePath(pattern).parts)
        self._note_folder(including.parent.joinpath(*literal))
        try:
            paths = sorted(including.parent.glob(pattern))
            found = [path for path in paths if path.is_file() and path.name[0] != "." and not path.samefile(including)]
        except (NotImplementedError, ValueError):
            raise RouteFileError(["a pattern must be relative to the folder of this file"]) from None
        except OSError as error:  # a file was deleted a moment ago
            raise RouteFileError([f"{error.filename}: {(error.strerror or str(error)).lower()}"]) from None
        if not found:
            raise RouteFileError(["no file has a name that matches"])
        for folder in dict.fromkeys(path.parent for path in found):
            self._note_folder(folder)
        return found


def _resolve(path: Path) -> Path:
    """The real path of a file, without symbolic links. It identifies the file. Raises RouteFileError."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a NUL
        raise RouteFileError([f"{path}: {str(error).lower()}"]) from None


def _find_way(start: Path, folder: Path) -> PurePath:
    """The path from one folder to another: relative if `folder` is inside `start`, else absolute."""
    return folder.relative_to(start) if folder.is_relative_to(start) else folder.absolute()
