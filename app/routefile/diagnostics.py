"""What is wrong with a tree of YAML, each with its place. Pure."""

import json
from typing import Any

from .yamltree import Mark, Path, Tree

MAX_SHOWN = 60  # characters of a wrong value


class Diagnostics:
    """Collects faults. A path that begins with `routes` and an index may stand in `defaults` instead: what a route
    has from there is told with the place that it has there."""

    def __init__(self, tree: Tree, name: str) -> None:
        """`name` is that of the file. What is wrong with the tree itself is in the report from the start."""
        self._tree = tree
        self._name = name
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
        """Once, however often it is told, and not where the tree has a fault of its own. The value is shown if it is a
        scalar; where it comes from a variable, only the name of that."""
        if not of_key and any(place in self._known for place in _list_places(path)):
            return
        value = next(filter(None, map(self._tree.find_variable, _list_places(path))), value)
        mark = self._locate(path, of_key=of_key)
        shown = f" {_show(value)}:" if isinstance(value, str | int | float) else ""
        where = f"{self._name}:{mark.line}:{mark.column}" if mark else self._name
        self._lines.setdefault(f"{where}: {_write_path(path)}:{shown} {text}", mark or Mark(0, 0))

    def add_fault(self, path: Path, text: str) -> None:
        """The same, with the value that stands there."""
        self.add(path, text, self._look_up(path))

    def _locate(self, path: Path, *, of_key: bool) -> Mark | None:
        """Where a value or a key stands: in its route, else in `defaults`, else the nearest thing around it."""
        locate = self._tree.locate_key if of_key else self._tree.locate
        for place in _list_places(path):
            if mark := locate(place):
                return mark
        return next((mark for end in range(len(path), -1, -1) if (mark := self._tree.locate(path[:end]))), None)

    def _look_up(self, path: Path) -> object:
        for place in _list_places(path):
            value: Any = self._tree.data
            for part in place:
                holds = isinstance(value, dict) or (
                    isinstance(value, list) and isinstance(part, int) and part < len(value)
                )
                value = (value.get(part) if isinstance(value, dict) else value[part]) if holds else None
            if value is not None:
                return value
        return None


def _list_places(path: Path) -> tuple[Path, ...]:
    """Where a value can stand: in its route, or in `defaults`."""
    return (path, ("defaults", *path[2:])) if path[:1] == ("routes",) and len(path) > 2 else (path,)


def _write_path(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
