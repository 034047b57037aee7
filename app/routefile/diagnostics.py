"""What is wrong with a tree of YAML, each with its place. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .defaults import find_whole
from .yamltree import Mark, Path, Tree

MAX_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class _Found:
    """What is wrong at a place of a file."""

    mark: Mark
    file: str
    place: Path
    text: str


class Diagnostics:
    """Collects faults. A path that begins with `routes` and an index may stand in `defaults` instead, here or in a file
    that includes this one: a fault in what a route has from there gets that place. A path that goes on where the file
    has a text or a number ends there: that is a short form of a list or a mapping."""

    def __init__(self, tree: Tree, name: str, parent: "Diagnostics | None" = None) -> None:
        """`name` is that of the file; `parent` is of the file that includes it. What is wrong with the tree itself is
        in the report from the start."""
        self.name = name = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
        self._tree = tree
        self._parent = parent
        self._found: dict[_Found, dict[Path, None]] = {}
        self._known = {fault.path for fault in tree.faults}
        for fault in tree.faults:
            self._found[_Found(fault.mark, name, fault.path, fault.text)] = {fault.path: None}

    @property
    def faults(self) -> list[str]:
        """A line for each: file, line, column, key path, value and text, in the order of their places. One that several
        routes have from `defaults` is one line."""
        lines = {_write_line(found, list(paths)): found.mark for found, paths in self._found.items()}
        return sorted(lines, key=lambda line: (lines[line], line))

    def add(self, path: Path, text: str, value: object = None, *, of_key: bool = False) -> None:
        """Once, however often it is added, and not where the tree has a fault of its own. The value is shown if it is a
        scalar; where it comes from a variable, only the name of that."""
        owner, place = self._find_owner(path)
        surplus = len(place) - owner._find_end(place)
        place, path = place[: len(place) - surplus], path[: len(path) - surplus]
        if not of_key and place in owner._known:
            return
        written = owner._look_up(place)
        if isinstance(value, str) and isinstance(written, str) and value.endswith(written):
            value = written  # a prefix, or a folder, stands before it
        value = owner._tree.find_variable(place) or value
        mark = owner._locate(place, of_key=of_key) or Mark(1, 1)
        shown = f"{_show(value)}: " if isinstance(value, str | int | float) else ""
        self._found.setdefault(_Found(mark, owner.name, place, f"{shown}{text}"), {})[path] = None

    def add_fault(self, path: Path, text: str) -> None:
        """The same, with the value that stands there."""
        owner, place = self._find_owner(path)
        self.add(path, text, owner._look_up(place[: owner._find_end(place)]))

    def _find_owner(self, path: Path) -> "tuple[Diagnostics, Path]":
        """Where a value or a key stands: in its route if that says anything of it, else in `defaults` of this file or
        of one above it."""
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
        """The length of a path up to a text or a number, in which nothing else can stand."""
        ends = range(len(place))
        return next((end for end in ends if isinstance(self._look_up(place[:end]), str | int | float)), len(place))

    def _locate(self, place: Path, *, of_key: bool) -> Mark | None:
        """Where a value or a key stands, or the nearest thing around it."""
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
    """Where a value can stand: in its route, or in `defaults`."""
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
