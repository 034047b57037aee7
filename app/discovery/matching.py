"""Which routes lead to which services: the templates of the ones beside the subjects of the others. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..formats.subjects import SubjectTemplate
from ..pieces import Steps
from .services import Service

MAX_LOOKS = 1_000_000  # at tokens of templates; 10,000 subjects and 1,000 routes take a tenth of it

_ANY, _REST = "*", ">"


@dataclass(frozen=True, slots=True)
class Leads:
    """For each service, in their order, the names of the routes that lead to it, sorted. `cut` says that it took too
    long, and that the last services may lack some."""

    routes: tuple[tuple[str, ...], ...]
    cut: bool


@dataclass(slots=True)
class _Node:
    """A token of templates: what may follow, and the names of the routes whose subject ends here."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    names: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    """Names of the routes whose tail begins here."""


def find_routes(services: Sequence[Service], routes: Iterable[tuple[str, SubjectTemplate]]) -> Steps[Leads]:
    """The routes, by name and subject, that some subject of a service answers, if only for some values of their
    parameters: `orders.7.get` and `orders.*.get` and `orders.>` all answer `orders.{id}.get`. A few tokens a step."""
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
    """Add the names of the routes that a subject answers; how many nodes were looked at, `most` or fewer. `*` is
    any one token, and a `>` at the end for one or more."""
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
    """All that comes below this node: the `>` goes on to stand for what follows."""
    names.update(node.tails)
    for child in _find_children(node, _ANY):
        names.update(child.names)
        waiting.append((child, index))


def _find_children(node: _Node, token: str) -> list[_Node]:
    """The nodes that a token of a subject leads to."""
    children = [node.parameter] if node.parameter else []
    if token == _ANY:
        return [*children, *node.literals.values()]
    child = node.literals.get(token)
    return [*children, child] if child else children
