"""Collects the faults of a YAML file, each with its place. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .defaults import find_whole
from .yamltree import Mark, Path, Tree

MAX_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class _Found:
    """A fault and its place in a file."""

    mark: Mark
    file: str
    place: Path
    text: str


class Diagnostics:
    """Collects the faults of one file.

    The value at a path that begins with `routes` and an index may come from `defaults` of this file, or of a file that
    includes it. The fault then gets the place in `defaults`. A path may lead into a text or a number, if that is the
    short form of a list or a mapping. The fault then gets the place of the text or number."""

    def __init__(self, tree: Tree, name: str, parent: "Diagnostics | None" = None) -> None:
        """`name` is the name of the file. `parent` belongs to the file that includes it. The faults of the tree itself
        are in the report from the start."""
        self.name = name = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
        self._tree = tree
        self._parent = parent
        self._found: dict[_Found, dict[Path, None]] = {}
        self._known = {fault.path for fault in tree.faults}
        for fault in tree.faults:
            self._found[_Found(fault.mark, name, fault.path, fault.text)] = {fault.path: None}

    @property
    def faults(self) -> list[str]:
        """One line for each fault, sorted by place: file, line, column, key path, value and text. A fault that several
        routes get from `defaults` is a single line."""
        lines = {_write_line(found, list(paths)): found.mark for found, paths in self._found.items()}
        return sorted(lines, key=lambda line: (lines[line], line))

    def add(self, path: Path, text: str, value: object = None, *, of_key: bool = False) -> None:
        """Add a fault. The same fault is listed once, however often it is added. A fault of a value is not listed if
        the tree itself has a fault there. The line shows the value if it is a scalar. If the value comes from a
        variable, the line shows only the name of the variable."""
        owner, place = self._find_owner(path)
        surplus = len(place) - owner._find_end(place)
        place, path = place[: len(place) - surplus], path[: len(path) - surplus]
        if not of_key and place in owner._known:
            return
        written = owner._look_up(place)
        if isinstance(value, str) and isinstance(written, str) and value.endswith(written):
            value = written  # without the prefix or the folder before it
        value = owner._tree.find_variable(place) or value
        mark = owner._locate(place, of_key=of_key) or Mark(1, 1)
        shown = f"{_show(value)}: " if isinstance(value, str | int | float) else ""
        self._found.setdefault(_Found(mark, owner.name, place, f"{shown}{text}"), {})[path] = None

    def add_fault(self, path: Path, text: str) -> None:
        """The same as `add`, with the value that the file has at this path."""
        owner, place = self._find_owner(path)
        self.add(path, text, owner._look_up(place[: owner._find_end(place)]))

    def _find_owner(self, path: Path) -> "tuple[Diagnostics, Path]":
        """The diagnostics of the file with a value or a key, and its path there. That is the route if it sets the
        value, else `defaults` of this file or of a file above it."""
        owner: Diagnostics | None = self
        whole = find_whole(path)
        for place in _list_places(whole):
            while owner is not None:
                if owner._has(place):
                    return owner, (*place, *path[len(whole) :])
                owner = owner._parent if place != whole else None
            owner = self
        return self, path

    def _has(self, place: Path) -> bool:
        return place in self._known or self._tree.locate_key(place) is not None or self._tree.locate(place) is not None

    def _find_end(self, place: Path) -> int:
        """The length of the path, up to the first text or number on it: nothing can be inside of these."""
        ends = range(len(place))
        return next((end for end in ends if isinstance(self._look_up(place[:end]), str | int | float)), len(place))

    def _locate(self, place: Path, *, of_key: bool) -> Mark | None:
        """The place of a value or a key, or else of the nearest value around it."""
        if of_key and (mark := self._tree.locate_key(place)):
            return mark
        return next((mark for end in range(len(place), -1, -1) if (mark := self._tree.locate(place[:end]))), None)

    def _look_up(self, place: Path) -> object:
        value: Any = self._tree.data
        for part in place:
            holds = isinstance(value, dict) or (isinstance(value, list) and isinstance(part, int) and part < len(value))
            value = (value.get(part) if isinstance(value, dict) else value[part]) if holds else None
        return value


def _list_places(path: Path) -> tuple[Path, ...]:
    """The paths that a value can have: in its route, and in `defaults`."""
    return (path, ("defaults", *path[2:])) if path[:1] == ("routes",) and len(path) > 2 else (path,)


def _write_line(found: _Found, paths: Sequence[Path]) -> str:
    others = len(paths) - 1
    more = f" (and in {others} more {'routes' if others > 1 else 'route'})" if others else ""
    return f"{found.file}:{found.mark.line}:{found.mark.column}: {_write_path(paths[0])}: {found.text}{more}"


def _write_path(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
