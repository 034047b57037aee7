"""Parses YAML strictly, and keeps positions. A key that occurs twice is an error, and so is a value that JSON can't
express. Pure.

Scalars follow the core schema of YAML 1.2: `no`, `on`, `1:30` and dates are texts. Keys are always texts. Values may
name variables, if a function is given that looks them up. `${NAME}` is replaced before the type of the scalar is
chosen.

The value of an alias is read once and shared. So time and memory grow with the length of the text, and not with its
expanded size. Later code visits every expanded value: a bound on the values that aliases add protects it from bombs.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..formats.schemas import Json
from ..formats.variables import Look, substitute
from .yamltree import Mark, Node, Path, Tree, YamlError, YamlFault, make_mark

MAX_DEPTH = 64
MAX_DIGITS = 4300  # of an integer, with its sign: CPython reads no longer ones
# A key or a value weighs 1, and 1 more for each CHARACTERS characters of its text. Real files share a few blocks among
# their routes; a bomb is a small file that expands to billions of values.
CHARACTERS = 64
MAX_WEIGHT = 4_000_000  # of the values as written, without aliases
MAX_ADDED = 100_000  # weight that aliases may add, plus MAX_TIMES the weight that is written before them
MAX_TIMES = 10

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
)
# The types that a plain scalar can have, by its first character.
_KINDS = {
    first: [(kind, re.compile(pattern)) for kind, pattern, firsts in _SCALARS if first in firsts]
    for first in ("", *"tTfF~nN-+.0123456789")
}
_BARE_PARAMETER = re.compile(r"[\w-]+:\s+(\{[A-Za-z_][\w-]*(?:\.\.\.)?\}[^\s,\]#}][^\s,#]*)")  # as a value
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, if PyYAML was built with it
_END = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def parse_yaml(data: bytes, look: Look | None = None) -> Tree:
    """Parse a UTF-8 text. With `look`, variables in values are replaced. Raises YamlError."""
    try:
        text = data.decode("utf-8-sig")
        return _Reader(text, look).read()
    except YamlError:
        raise
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise YamlError(Mark(line, 1), "the file is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        raise _explain(text, error) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise YamlError(Mark(line, 1), "not YAML: a control character") from None
    except (RecursionError, ValueError):
        raise YamlError(Mark(1, 1), "not YAML that can be read") from None


class _Reader:
    """Builds a tree from the events of libyaml. Its own composer would make nodes by recursion in C."""

    def __init__(self, text: str, look: Look | None) -> None:
        self._look = look
        self._next = _LOADER(text).get_event
        self._tree = Tree()
        self._anchors: dict[str, Node] = {}
        self._written = 0  # weight
        self._added = 0  # by aliases

    def read(self) -> Tree:
        """Raises YamlError if the document is too deep or too large, and the errors of `yaml`."""
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return self._tree
        node = self._read_node(self._next(), (), 1)
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise YamlError(make_mark(event.start_mark), "not YAML: a second document")
        self._tree.root, self._tree.data = node, node.data
        return self._tree

    def _read_node(self, event: Any, path: Path, depth: int) -> Node:
        """The value that begins with this event. `depth` is its level, counted from 1."""
        if isinstance(event, yaml.AliasEvent):
            return self._follow(event, depth)
        node = Node(event.start_mark)
        if event.anchor is not None:
            self._add_anchor(event, node)
        before = self._written + self._added
        self._written += 1
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            node.data = self._read_scalar(event, path)
            self._written += len(event.value) // CHARACTERS
        elif depth > MAX_DEPTH:
            raise YamlError(make_mark(event.start_mark), f"nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.MappingStartEvent):
            node.data = dict(self._read_pairs(node, path, depth))
        else:
            node.data = list(self._read_items(node, path, depth))
        if self._written > MAX_WEIGHT:
            raise YamlError(make_mark(event.start_mark), "too large")
        node.weight = self._written + self._added - before
        return node

    def _read_items(self, parent: Node, path: Path, depth: int) -> Iterator[Json]:
        parent.height = 1
        index = 0
        while not isinstance(event := self._next(), _END):
            yield self._read_inner(event, parent, (*path, index), depth)
            index += 1

    def _read_pairs(self, parent: Node, path: Path, depth: int) -> Iterator[tuple[str, Json]]:
        parent.height = 1
        seen: dict[str, int] = {}
        while not isinstance(event := self._next(), _END):
            mark = make_mark(event.start_mark)
            name = self._read_key(event, depth)
            if name is None:
                self._read_quietly(self._next(), depth)
                self._tree.faults.append(YamlFault(mark, path, "a key must be a text"))
                continue
            if name in seen:
                text = f"the key '{name}' appears twice, first in line {seen[name]}"
                self._tree.faults.append(YamlFault(mark, (*path, name), text))
            seen.setdefault(name, mark.line)
            parent.keys[name] = mark
            yield name, self._read_inner(self._next(), parent, (*path, name), depth)

    def _read_key(self, event: Any, depth: int) -> str | None:
        """The text of a key, even if it looks like a number; None if the key is a collection."""
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
            self._written += 1 + len(event.value) // CHARACTERS
            return str(event.value)
        return self._read_quietly(event, depth).text

    def _read_quietly(self, event: Any, depth: int) -> Node:
        """Read a node that is not a value of the tree. Its faults do not count."""
        count = len(self._tree.faults)
        node = self._read_node(event, (), depth + 1)
        del self._tree.faults[count:]
        return node

    def _read_inner(self, event: Any, parent: Node, path: Path, depth: int) -> Json:
        node = self._read_node(event, path, depth + 1)
        parent.inner[path[-1]] = node
        parent.height = max(parent.height, node.height + 1)
        return node.data

    def _add_anchor(self, event: Any, node: Node) -> None:
        if event.anchor in self._anchors:
            raise YamlError(make_mark(event.start_mark), f"not YAML: a second anchor '{event.anchor}'")
        self._anchors[event.anchor] = node

    def _follow(self, event: Any, depth: int) -> Node:
        """The node that an alias refers to. Raises YamlError."""
        name, mark = event.anchor, make_mark(event.start_mark)
        node = self._anchors.get(name)
        if node is None:
            raise YamlError(mark, f"not YAML: the alias '{name}' has no anchor")
        if node.weight == 0:
            raise YamlError(mark, f"not YAML: the alias '{name}' is part of what it points at")
        if depth + node.height > MAX_DEPTH + 1:
            raise YamlError(mark, f"nested more than {MAX_DEPTH} deep")
        self._added += node.weight
        if self._added > MAX_ADDED + MAX_TIMES * self._written:
            raise YamlError(
                mark, f"too large: with the alias '{name}' the file has far more values than are written in it"
            )
        return node

    def _read_scalar(self, event: Any, path: Path) -> Json:
        text = self._fill(event, path)
        kind = _choose_kind(event, text)
        value, fault = None, f"the tag {event.tag} is not known here; leave it out"
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
                value, fault = 0, f"{event.value[:40]} is too large for a number"
        except ValueError:
            fault = f"'{event.value[:40]}' is not of the type that its tag says"
        self._tree.faults.append(YamlFault(make_mark(event.start_mark), path, fault))
        return value

    def _fill(self, event: Any, path: Path) -> str:
        """The text of a scalar, with the values of its variables."""
        text: str = event.value
        if self._look is None or "${" not in text:
            return text
        try:
            return substitute(text, self._look)
        except ValueError as error:
            self._tree.faults.append(YamlFault(make_mark(event.start_mark), path, str(error)))
            return text


def _explain(text: str, error: yaml.MarkedYAMLError) -> YamlError:
    """The error of libyaml. If a value begins with a parameter such as `{id}` and has no quotes, the text says that
    instead."""
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    for place in (error.problem_mark, error.context_mark):
        line = lines[place.line] if place and place.line < len(lines) else ""
        if match := _BARE_PARAMETER.search(line):
            value = match[1][:-1] if match[1].count("}") > match[1].count("{") else match[1]
            what = f"a value that begins with '{{' must be in quotes: \"{value}\""
            return YamlError(make_mark(place, column=match.start(1)), what)
    reason = " ".join(part for part in (error.context, error.problem) if part)
    return YamlError(make_mark(mark), f"not YAML: {reason}")


def _choose_kind(event: Any, text: str) -> str:
    """The type of a scalar: from its tag, else from its form if it is plain, else a text."""
    tag: str | None = event.tag
    if tag not in (None, "!"):
        return tag.removeprefix(_PREFIX)
    if event.implicit[0]:
        for kind, pattern in _KINDS.get(text[:1], ()):
            if pattern.fullmatch(text):
                return kind
    return "str"
