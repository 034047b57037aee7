"""The table that finds a route. Pure.

Laws:
1. A path matches a template only if both have the same number of segments: `//` and a trailing slash make other paths.
   The raw path is split first and decoded later, so `%2F` never separates. A tail takes one segment or more.
2. A literal segment wins over a parameter, and a parameter over a tail: `/a/me` over `/a/{id}`, and `/a/{id}/b` over
   `/a/{path...}`. A tail can't be in the same place as a parameter. If two routes can match the same method and path,
   one must be at least as literal as the other in every segment. Otherwise both are refused.
3. The cost of a match depends on the number of segments, not on the number of routes. The table reads no more segments
   than the longest route has.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self
from urllib.parse import unquote_to_bytes

from ..formats.subjects import PERCENT
from ..pieces import Steps
from .faults import Fault
from .identity import find_forged
from .routes import Route
from .words import METHODS

EVERY_METHOD = ("GET", "HEAD", *METHODS[1:], "OPTIONS")
MAX_CONFLICTS = 100  # that an error lists

_Shape = tuple[str | None, ...]
"""The literal segments of a path, with None for each parameter or tail."""


class TableError(ValueError):
    """Routes that can't be in one table together. `faults` has the index of each wrong route and its fault."""

    def __init__(self, faults: Sequence[tuple[int, Fault]]) -> None:
        super().__init__("; ".join(fault.text for _, fault in faults))
        self.faults = tuple(faults)


@dataclass(slots=True)
class _Node:
    literals: dict[bytes, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    route: Route | None = None
    tail: Route | None = None
    """The route whose tail begins here."""
    longest: int = 0
    """The length in bytes of the longest literal here, if each of its bytes is percent-encoded. A longer segment is no
    literal."""


class RouteTable:
    """Finds the route of a method and a raw path, with one trie for each method."""

    __slots__ = ("_deepest", "_tailed", "_tries", "routes")

    def __init__(self, routes: Iterable[Route], *, reserved: Iterable[str] = ()) -> None:
        """Raises TableError. It names two routes that conflict, or a route that takes a path of the gateway itself.
        `reserved` are first segments of the gateway's own paths."""
        self.routes = tuple(routes)
        self._tries: dict[str, _Node] = {}
        self._deepest = 0
        self._tailed: set[str] = set()
        """Methods that have a route with a tail."""
        taken = frozenset(reserved)
        names: set[str] = set()
        paths: dict[_Shape, Route] = {}
        overlaps = _Overlaps()
        faults: list[tuple[int, Fault]] = []
        for index, route in enumerate(self.routes):
            found = list(_find_own_faults(route, names, paths, taken))
            if not any(fault.key == ("path",) for fault in found):
                found += _find_conflicts(route, overlaps)
            faults += [(index, fault) for fault in found]
            names.add(route.name)
            paths.setdefault(_shape(route), route)
            if not found:
                overlaps.add(route)
                self._add(route)
            if len(faults) >= MAX_CONFLICTS:
                break
        faults = faults or list(islice(_find_tail_conflicts(self.routes), MAX_CONFLICTS))
        faults = faults or list(islice(find_forged(self.routes), MAX_CONFLICTS))
        if faults:
            raise TableError(faults)
        self._serve_head()

    @classmethod
    def of_checked(cls, routes: Iterable[Route]) -> Steps[Self]:
        """The table of routes that were in a table together before. It does not check them again. It adds one route a
        step."""
        table = cls(())
        taken = []
        for route in routes:
            table._add(route)
            taken.append(route)
            yield
        table.routes = tuple(taken)
        table._serve_head()
        return table

    def _add(self, route: Route) -> None:
        self._deepest = max(self._deepest, len(route.segments))
        for method in route.methods:
            _insert(self._tries.setdefault(method, _Node()), route)
        if route.tail is not None:
            self._tailed.update(route.methods)

    def let_go(self) -> Steps[None]:
        """Forget all routes, a few in a step: to free all at once is a pause that grows with their number. Afterwards
        the table finds no route."""
        self.routes = ()
        nodes = list(self._tries.values())
        while nodes:
            node = nodes.pop()
            node.route = node.tail = None
            if node.parameter:
                nodes.append(node.parameter)
                node.parameter = None
            while node.literals:
                nodes.append(node.literals.popitem()[1])
                yield

    def _serve_head(self) -> None:
        if "GET" in self._tries:
            self._tries["HEAD"] = self._tries["GET"]
        if "GET" in self._tailed:
            self._tailed.add("HEAD")

    def match(self, method: str, path: bytes) -> tuple[Route, list[bytes]] | None:
        """The route, and the raw values of its path parameters in order. HEAD matches as GET does."""
        trie = self._tries.get(method)
        if trie is None or path[:1] != b"/":
            return None
        values: list[bytes] = []
        segments = path[1:].split(b"/", self._deepest)  # only a tail matches more segments
        route = _find(trie, segments, values)
        if route is None and method in self._tailed:
            values.clear()
            route = _find_tail(trie, segments, values)
        return (route, values) if route else None

    def allowed(self, path: bytes) -> tuple[str, ...]:
        """The methods that match a raw path, with HEAD and OPTIONS, in the order of RFC 9110. Empty if no method
        does."""
        found = [method for method in METHODS if self.match(method, path)]
        if not found:
            return ()
        return (*found[:1], "HEAD", *found[1:], "OPTIONS") if "GET" in found else (*found, "OPTIONS")


def _find_own_faults(
    route: Route, names: set[str], paths: dict[_Shape, Route], taken: frozenset[str]
) -> Iterator[Fault]:
    if route.name in names:
        yield Fault(("name",), f"two routes have the name '{route.name}'")
    if route.segments[0] in taken:
        yield Fault(("path",), f"route '{route.name}': the gateway itself uses /{route.segments[0]}")
    twin = paths.get(_shape(route))
    if twin and (twin.tail is None) != (route.tail is None):
        text = "a tail and a parameter can't be in the same place: OpenAPI writes both alike"
        yield Fault(("path",), f"routes '{twin.name}' and '{route.name}': {text}")
    elif twin and twin.path != route.path:
        yield Fault(("path",), f"routes '{twin.name}' and '{route.name}' name the parameters of one path differently")


def _find_conflicts(route: Route, overlaps: "_Overlaps") -> Iterator[Fault]:
    for method in route.methods:
        if other := overlaps.find(method, route):
            yield Fault(("path",), f"routes '{other.name}' and '{route.name}' both match {method} {route.path}")


def _shape(route: Route) -> _Shape:
    return tuple(None if segment.startswith("{") else segment for segment in route.segments)


def _find_tail_conflicts(routes: Sequence[Route]) -> Iterator[tuple[int, Fault]]:
    """Routes that conflict with the tail of another route (law 2). The cost grows with the number of routes, and with
    the number of different lengths of paths with tails."""
    tails = _Overlaps()
    lengths: dict[str, set[int]] = {}
    for route in routes:
        if route.tail is not None:
            tails.add(route)
            for method in route.methods:
                lengths.setdefault(method, set()).add(len(route.segments))
    for index, route in enumerate(routes):
        for method in route.methods:
            for length in lengths.get(method, ()):
                if other := tails.find_tail(method, route, length):
                    text = f"routes '{other.name}' and '{route.name}' both match paths of {method} {route.path}"
                    yield index, Fault(("path",), f"{text}, and neither is more literal")


@dataclass(slots=True)
class _Overlaps:
    """Finds an earlier route that conflicts with a new one (law 2). The cost does not grow with the number of routes.

    Two routes with the same number of segments overlap if the segments that are literal in both are equal. One of them
    wins if its literal segments include those of the other, and are more. So the index has the routes by the positions
    of their literal segments. Under these it has the texts in the positions that a new route shares with them.
    """

    _kinds: dict[tuple[str, int], dict[frozenset[int], dict[frozenset[int], dict[_Shape, Route]]]] = field(
        default_factory=dict
    )
    """By method and number of segments: the literal positions of routes, then the positions that are shared with a new
    route, then the texts there. Each leads to the first route that has them."""

    def find(self, method: str, route: Route) -> Route | None:
        """An earlier route that matches some path that this route matches too, if neither is the more literal one."""
        shape = _shape(route)
        literal = _literal_positions(shape)
        for others, indices in self._kinds.get((method, len(shape)), {}).items():
            if literal < others or others < literal:
                continue
            if found := _look_up(shape, literal & others, indices, others):
                return found
        return None

    def find_tail(self, method: str, route: Route, length: int) -> Route | None:
        """A route with a tail, whose path has this length, that matches some path that this route matches too. Only if
        this route is not at least as literal. For two tails in one place use `find`."""
        shape = _shape(route)
        if len(shape) < length or (len(shape) == length and route.tail is not None):
            return None
        shape = (*shape[: length - 1], None)
        literal = _literal_positions(shape)
        for others, indices in self._kinds.get((method, length), {}).items():
            if not others <= literal and (found := _look_up(shape, literal & others, indices, others)):
                return found
        return None

    def add(self, route: Route) -> None:
        """Add a route. Later routes are compared with it."""
        shape = _shape(route)
        literal = _literal_positions(shape)
        for method in route.methods:
            indices = self._kinds.setdefault((method, len(shape)), {}).setdefault(literal, {literal: {}})
            for positions, index in indices.items():
                index.setdefault(_take(shape, positions), route)


def _look_up(
    shape: _Shape,
    shared: frozenset[int],
    indices: dict[frozenset[int], dict[_Shape, Route]],
    others: frozenset[int],
) -> Route | None:
    """A route that has the same texts in the `shared` positions, which are literal in both routes. `others` are all
    literal positions of the found route."""
    if shared not in indices:
        indices[shared] = {}
        for other in indices[others].values():
            indices[shared].setdefault(_take(_shape(other), shared), other)
    return indices[shared].get(_take(shape, shared))


def _literal_positions(shape: _Shape) -> frozenset[int]:
    return frozenset(index for index, segment in enumerate(shape) if segment is not None)


def _take(shape: _Shape, positions: frozenset[int]) -> _Shape:
    return tuple(segment if index in positions else None for index, segment in enumerate(shape))


def _insert(node: _Node, route: Route) -> None:
    for segment in route.segments if route.tail is None else route.segments[:-1]:
        if segment.startswith("{"):
            node.parameter = node.parameter or _Node()
            node = node.parameter
        else:
            node.longest = max(node.longest, len("%00") * len(segment))
            node = node.literals.setdefault(segment.encode("ascii"), _Node())
    if route.tail is None:
        node.route = route
    else:
        node.tail = route


def _find(node: _Node, segments: Sequence[bytes], values: list[bytes]) -> Route | None:
    """Goes down one segment at a time. It comes back only if both a literal and a parameter match a segment."""
    depth = 0
    for segment in segments:
        depth += 1
        literal = node.literals.get(segment)
        if literal is None and PERCENT in segment:
            literal = _find_encoded(node, segment)
        parameter = node.parameter
        if parameter is None:
            if literal is None:
                return None
            node = literal
            continue
        if literal is not None:
            count = len(values)
            if route := _find(literal, segments[depth:], values):
                return route
            del values[count:]
        values.append(segment)
        node = parameter
    return node.route


def _find_encoded(node: _Node, segment: bytes) -> _Node | None:
    """The node below a literal, for a segment that came percent-encoded."""
    return node.literals.get(unquote_to_bytes(segment)) if len(segment) <= node.longest else None


def _find_tail(node: _Node, segments: Sequence[bytes], values: list[bytes]) -> Route | None:
    """The route whose tail takes the last segments. Of several, the one with the most literal segments before it."""
    if not segments:
        return None
    segment, rest = segments[0], segments[1:]
    literal = node.literals.get(segment) or (_find_encoded(node, segment) if PERCENT in segment else None)
    if literal is not None and (route := _find_tail(literal, rest, values)):
        return route
    if node.parameter is not None:
        values.append(segment)
        if route := _find_tail(node.parameter, rest, values):
            return route
        values.pop()
    if node.tail is not None:
        values.append(b"/".join(segments))
    return node.tail
