"""Finds the routes that lead to each service, by comparing subject templates with the subjects of services. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..formats.subjects import SubjectTemplate
from ..pieces import Steps
from .services import Service

MAX_LOOKS = 1_000_000  # at nodes; 10,000 subjects and 1,000 routes take a tenth of it

_ANY, _REST = "*", ">"


@dataclass(frozen=True, slots=True)
class Leads:
    """For each service, in the given order, the sorted names of the routes that lead to it. `cut` says that the search
    was stopped after MAX_LOOKS. Then the last services may lack routes."""

    routes: tuple[tuple[str, ...], ...]
    cut: bool


@dataclass(slots=True)
class _Node:
    """A token of templates: the tokens that may follow, and the names of the routes whose subject ends here."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    names: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    """The names of the routes whose tail begins here."""


def find_routes(services: Sequence[Service], routes: Iterable[tuple[str, SubjectTemplate]]) -> Steps[Leads]:
    """The routes (by name and subject) that each service answers, even if only for some values of their parameters:
    `orders.7.get`, `orders.*.get` and `orders.>` all answer `orders.{id}.get`. A step visits a few tokens."""
    root = _Node()
    for name, template in routes:
        _insert(root, name, template)
        yield
    found: list[tuple[str, ...]] = []
    left = MAX_LOOKS
    for service in services:
        names: set[str] = set()
        for subject in service.subjects:
            left -= yield from _look_up(root, subject.split("."), names, left)
        found.append(tuple(sorted(names)))
        yield
    return Leads(tuple(found), left <= 0)


def _insert(root: _Node, name: str, template: SubjectTemplate) -> None:
    node = root
    parts = list(zip(template.format.split("."), template.parameters, strict=True))
    for token, parameter in parts[:-1] if template.tail else parts:
        if parameter is None:
            node = node.literals.setdefault(token, _Node())
        else:
            node.parameter = node.parameter or _Node()
            node = node.parameter
    (node.tails if template.tail else node.names).append(name)


def _look_up(root: _Node, tokens: Sequence[str], names: set[str], most: int) -> Steps[int]:
    """Add the names of the routes that a subject answers. Returns the number of visited nodes, at most `most`. `*`
    stands for any one token, and `>` at the end for one or more."""
    looks = 0
    waiting = [(root, 0)]
    while waiting and looks < most:
        node, index = waiting.pop()
        looks += 1
        if index == len(tokens):
            names.update(node.names)
        elif tokens[index] == _REST and index == len(tokens) - 1:
            _add_below(node, index, waiting, names)
        else:
            names.update(node.tails)
            waiting += [(child, index + 1) for child in _find_children(node, tokens[index])]
        yield
    return looks


def _add_below(node: _Node, index: int, waiting: list[tuple[_Node, int]], names: set[str]) -> None:
    """Add all routes below this node. The `>` also stands for the tokens that follow."""
    names.update(node.tails)
    for child in _find_children(node, _ANY):
        names.update(child.names)
        waiting.append((child, index))


def _find_children(node: _Node, token: str) -> list[_Node]:
    """The nodes that a token of a subject matches."""
    children = [node.parameter] if node.parameter else []
    if token == _ANY:
        return [*children, *node.literals.values()]
    child = node.literals.get(token)
    return [*children, child] if child else children
