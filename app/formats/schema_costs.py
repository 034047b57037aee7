"""How much work a JSON Schema can make. Pure.

The cost of a schema is a bound: `is_valid` evaluates at most so many keywords for each value in a body, on average.
Evaluating one takes at most 0.16 µs.

Laws:
1. A reference costs what its target costs, each time. So schemas that double at each step cost as much as they take.
2. `is_valid` remembers its results for a schema that leads back to itself. So a reference back costs as much as to look
   for a result.
3. The time to measure a schema grows with its own length, whatever it refers to.
"""

from collections.abc import Callable, Mapping, Sequence

from .references import Path, References, Target
from .schemas import Json, measure_pattern

UNBOUNDED = 10**9  # a larger cost is this one

_SCHEMAS = frozenset(("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "items", "additionalItems"))
_SCHEMAS |= {"additionalProperties", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
_NAMED = ("patternProperties", "dependentSchemas", "dependencies")
_ONE_OF_THEM = ("properties", "prefixItems")
"""A value in a body meets at most one of their schemas."""
_DYNAMIC = frozenset(("$dynamicRef", "$recursiveRef"))
_UNEVALUATED = frozenset(("unevaluatedItems", "unevaluatedProperties"))
_AGAIN = 3  # times that the schemas beside an unevaluated keyword are evaluated
_BACK = 16  # of a reference back
_PATTERN = 4096  # bytes of a compiled pattern that cost as much as a keyword
_ENUM = 10  # values of an enum that cost as much as a keyword
_FREE = frozenset(("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"))
_FREE |= {"format", "$schema", "$id", "$anchor", "$dynamicAnchor", "$comment", "$defs", "definitions", "schemas"}

Read = Callable[[Json], References]


def measure(document: Json, read: Read, named: Mapping[str, Json]) -> int:
    """The cost of a schema, at least 1. `read` finds the references of a schema, and `named` has the shared schemas
    that it may refer to. Every reference must have a target."""
    try:
        meter = _Meter(read, named, document)
        cost = meter.measure(Target(None, ()))
        if meter.is_recursive:
            meter = _Meter(read, named, document, adds=True)
            cost = meter.measure(Target(None, ()))
    except RecursionError:
        return UNBOUNDED
    return max(1, min(cost, UNBOUNDED))


class _Meter:
    def __init__(self, read: Read, named: Mapping[str, Json], document: Json, *, adds: bool = False) -> None:
        """With `adds`, also schemas of which a value meets at most one count all together: for a schema that leads back
        to itself."""
        self._read = read
        self._named = named
        self._document = document
        self._combine: Callable[[Sequence[int]], int] = sum if adds else lambda costs: max(costs, default=0)
        self._known: dict[Target, int | None] = {}
        self.is_recursive = False

    def measure(self, target: Target) -> int:
        """The cost of the schema at this place. It is measured once."""
        if target not in self._known:
            self._known[target] = None
            document = self._document if target.name is None else self._named[target.name]
            self._known[target] = self._measure(_follow(document, target.path), target.name, target.path)
        cost = self._known[target]
        if cost is None:
            self.is_recursive = True
            return _BACK
        return cost

    def _measure(self, schema: Json, name: str | None, path: Path) -> int:
        if isinstance(schema, list):
            return sum(self._measure(item, name, (*path, index)) for index, item in enumerate(schema))
        if not isinstance(schema, dict):
            return 1
        if not _DYNAMIC.isdisjoint(schema):
            return UNBOUNDED
        costs = (self._measure_keyword(key, value, name, path) for key, value in schema.items() if key not in _FREE)
        return min(sum(costs) * (1 if _UNEVALUATED.isdisjoint(schema) else _AGAIN), UNBOUNDED)

    def _measure_keyword(self, key: str, value: Json, name: str | None, path: Path) -> int:
        if key in _SCHEMAS:
            return 1 + self._measure(value, name, (*path, key))
        if key in _NAMED or key in _ONE_OF_THEM:
            costs = [self._measure(inner, name, (*path, key, at)) for at, inner in _list_items(value)]
            if key in _ONE_OF_THEM:
                return 1 + self._combine(costs)
            patterns = value if key == "patternProperties" and isinstance(value, dict) else ()
            return 1 + sum(costs) + sum(map(_measure_pattern, patterns))
        if key == "$ref":
            return 1 + self._find(name, path)
        if key == "pattern" and isinstance(value, str):
            return _measure_pattern(value)
        return 1 + len(value) // _ENUM if isinstance(value, list | dict) else 1

    def _find(self, name: str | None, path: Path) -> int:
        document = self._document if name is None else self._named[name]
        target = self._read(document).targets[path]
        return self.measure(Target(name, target.path) if target.name is None else target)


def _measure_pattern(pattern: str) -> int:
    return 1 + measure_pattern(pattern) // _PATTERN


def _list_items(value: Json) -> Sequence[tuple[str | int, Json]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else ()


def _follow(document: Json, path: Path) -> Json:
    for part in path:
        document = document[part]  # type: ignore[index] # a reference has a target
    return document
