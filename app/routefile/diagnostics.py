"""What is wrong with a tree of YAML, each with its place. Pure."""

import json
from typing import Any

from .yamltree import Mark, Path, Tree

MAX_SHOWN = 60  # characters of a wrong value


class Diagnostics:
    """Collects faults. A path that begins with `routes` and an index may stand in `defaults` instead, here or in a file
    that includes this one: a fault in what a route has from there gets that place."""

    def __init__(self, tree: Tree, name: str, parent: "Diagnostics | None" = None) -> None:
        """`name` is that of the file; `parent` is of the file that includes it. What is wrong with the tree itself is
        in the report from the start."""
        self.name = name = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
        self._tree = tree
        self._parent = parent
        self._lines: dict[str, Mark] = {}
        self._known = {fault.path for fault in tree.faults}
        for fault in tree.faults:
            place = f"{name}:{fault.mark.line}:{fault.mark.column}"
            self._lines[f"{place}: {_write_path(fault.path)}: {fault.text}"] = fault.mark

    @property
    def faults(self) -> list[str]:
        """A line for each: file, line, column, key path, value and text, in the order of their places."""
        return sorted(self._lines, key=lambda line: (self._lines[line], line))

    def add(self, path: Path, text: str, value: object = None, *, of_key: bool = False) -> None:
        """Once, however often it is added, and not where the tree has a fault of its own. The value is shown if it is a
        scalar; where it comes from a variable, only the name of that."""
        owner, place = self._find_owner(path, of_key=of_key)
        if not of_key and place in owner._known:
            return
        written = owner._look_up(place)
        if isinstance(value, str) and isinstance(written, str) and value.endswith(written):
            value = written  # a prefix, or a folder, stands before it
        value = owner._tree.find_variable(place) or value
        mark = owner._locate(place, of_key=of_key)
        shown = f" {_show(value)}:" if isinstance(value, str | int | float) else ""
        where = f"{owner.name}:{mark.line}:{mark.column}" if mark else owner.name
        self._lines.setdefault(f"{where}: {_write_path(path)}:{shown} {text}", mark or Mark(0, 0))

    def add_fault(self, path: Path, text: str) -> None:
        """The same, with the value that stands there."""
        owner, place = self._find_owner(path, of_key=False)
        self.add(path, text, owner._look_up(place))

    def _find_owner(self, path: Path, *, of_key: bool) -> "tuple[Diagnostics, Path]":
        """Where a value or a key stands: in its route, else in `defaults` of this file or of one above it."""
        owner: Diagnostics | None = self
        for place in _list_places(path):
            while owner is not None:
                if owner._has(place, of_key=of_key):
                    return owner, place
                owner = owner._parent if place != path else None
            owner = self
        return self, path

    def _has(self, place: Path, *, of_key: bool) -> bool:
        locate = self._tree.locate_key if of_key else self._tree.locate
        return place in self._known or locate(place) is not None

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


def _write_path(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
