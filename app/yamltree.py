"""YAML with positions, strictly: a key that stands twice is an error, and so is all that JSON could not say. Pure.

Scalars are those of the core schema of YAML 1.2: `no`, `on`, `1:30` and dates are texts. Keys are always texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from app.schemas import Json

Path = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_DIGITS = 4300  # of an integer, sign included: CPython reads no longer ones
MAX_NODES = 2_000_000  # after aliases are followed

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
)


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Line and column, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlFault:
    mark: Mark
    path: Path
    text: str


class YamlError(ValueError):
    """A text can't be read at all."""

    def __init__(self, mark: Mark, text: str) -> None:
        super().__init__(text)
        self.mark = mark


@dataclass(slots=True)
class Tree:
    """A parsed document. `keys` and `values` say where each key and value stands, `faults` what is wrong with it:
    where that is a key that stands twice, the last value is taken."""

    data: Json = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    faults: list[YamlFault] = field(default_factory=list)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # libyaml's where it is built in
    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012 - as PyYAML wants it


for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_PREFIX + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def parse_yaml(data: bytes) -> Tree:
    """The document of a UTF-8 text. Raises YamlError."""
    try:
        text = data.decode("utf-8-sig")
        _check_depth(text)
        node = _Loader(text).get_single_node()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise YamlError(Mark(line, 1), "the file is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(_mark(error.problem_mark), f"not YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise YamlError(Mark(line, 1), "not YAML: a control character") from None
    except (RecursionError, ValueError):
        raise YamlError(Mark(1, 1), "not YAML that can be read") from None
    reader = _Reader()
    reader.tree.values[()] = Mark(1, 1)
    reader.tree.data = None if node is None else reader.read(node, (), 0)
    return reader.tree


def _check_depth(text: str) -> None:
    """libyaml makes nodes by recursion in C, which a deep document would end with the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlError(_mark(event.start_mark), f"nested more than {MAX_DEPTH} deep")


class _Reader:
    def __init__(self) -> None:
        self.tree = Tree()
        self._count = 0

    def read(self, node: yaml.Node, path: Path, depth: int) -> Json:
        """The value of a node, with its place and faults noted in `tree`. Raises YamlError where it is too large."""
        mark = _mark(node.start_mark)
        self.tree.values[path] = mark
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:  # aliases may lead back to where they stand
            raise YamlError(mark, "nested too deeply, or too large")
        if isinstance(node, yaml.MappingNode):
            return dict(self._read_pairs(node, path, depth))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._read_scalar(node, path, mark)

    def _read_pairs(self, node: yaml.MappingNode, path: Path, depth: int) -> Iterator[tuple[str, Json]]:
        seen: dict[str, Mark] = {}
        for key, value in node.value:
            mark = _mark(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                self.tree.faults.append(YamlFault(mark, path, "a key must be a text"))
                continue
            name = str(key.value)
            if name in seen:
                text = f"the key '{name}' stands twice, first in line {seen[name].line}"
                self.tree.faults.append(YamlFault(mark, (*path, name), text))
            seen.setdefault(name, mark)
            self.tree.keys[*path, name] = mark
            yield name, self.read(value, (*path, name), depth + 1)

    def _read_scalar(self, node: yaml.Node, path: Path, mark: Mark) -> Json:
        text = str(node.value)
        kind = node.tag.removeprefix(_PREFIX)
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int" and len(text) <= MAX_DIGITS:
                return int(text, 0 if text[:2] in ("0o", "0x") else 10)
            if kind == "float" and abs(float(text)) != float("inf"):
                return float(text)
            if kind in ("int", "float"):
                self.tree.faults.append(YamlFault(mark, path, f"{text[:40]} is too large for a number"))
                return 0
        except ValueError:
            self.tree.faults.append(YamlFault(mark, path, f"'{text[:40]}' is not of the type that its tag says"))
            return None
        self.tree.faults.append(YamlFault(mark, path, f"the tag {node.tag} is not known here; leave it out"))
        return None


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
