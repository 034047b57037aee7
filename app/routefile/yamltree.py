"""A YAML document with the place of each of its values. Pure."""

from dataclasses import dataclass, field
from typing import Any

from ..formats.schemas import Json
from ..formats.variables import has_variables

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Line and column, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlFault:
    """A fault of the file, and its place."""

    mark: Mark
    path: Path
    text: str


class YamlError(ValueError):
    """A text can't be parsed at all."""

    def __init__(self, mark: Mark, text: str) -> None:
        super().__init__(text)
        self.mark = mark


@dataclass(slots=True)
class Node:
    """A value and its place. `text` is the text of a scalar as written. `keys` has the places of the keys of a mapping.
    `inner` has its values, or the items of a list. `height` is the number of levels of collections. `weight` is 0 until
    the value has been read completely."""

    place: Any
    data: Json = None
    text: str | None = None
    keys: dict[str | int, Mark] = field(default_factory=dict)
    inner: dict[str | int, "Node"] = field(default_factory=dict)
    height: int = 0
    weight: int = 0


@dataclass(slots=True)
class Tree:
    """A parsed document and its faults. If a key occurs twice, `data` has the last value."""

    data: Json = None
    faults: list[YamlFault] = field(default_factory=list)
    root: Node | None = None

    def locate(self, path: Path) -> Mark | None:
        """The place of the value at this path; None if there is no such value. The place of an empty document is its
        beginning."""
        if node := self._find(path):
            return make_mark(node.place)
        return None if path else Mark(1, 1)

    def locate_key(self, path: Path) -> Mark | None:
        """The place of the key at this path; None if there is no such key."""
        parent = self._find(path[:-1])
        return parent.keys.get(path[-1]) if parent and path else None

    def find_variable(self, path: Path) -> str | None:
        """The text of the value as written, if it names a variable, else None. Reports show this text, since the value
        of the variable may be a secret."""
        node = self._find(path)
        return node.text if node and node.text is not None and has_variables(node.text) else None

    def _find(self, path: Path) -> Node | None:
        node = self.root
        for part in path:
            node = node.inner.get(part) if node else None
        return node


def make_mark(mark: Any, column: int | None = None) -> Mark:
    """The Mark for a mark of PyYAML."""
    return Mark(mark.line + 1, (mark.column if column is None else column) + 1) if mark else Mark(1, 1)
