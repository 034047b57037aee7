"""The JSON in the metadata of services: read strictly, and bounded. Pure.

Laws:
1. What a service says costs no caller of others more than a moment: a route has at most MAX_VALUES values, which are
   nested at most as deep as those of a request body, and its patterns are short.
2. No text for people has control characters, or marks that change its direction.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..formats.schemas import count_values, measure_pattern, parse_json
from .infos import clean, clean_line

MAX_VALUES = 4000  # JSON values of one route, with its schemas
MAX_PATTERNS = 100  # regular expressions of one route
MAX_PATTERN = 288 * 1024  # bytes of one of them, compiled: `^.{1,255}$` has fewer
MAX_PATTERN_BYTES = 4 * 1024 * 1024  # of all those of a route: they are compiled in 30 ms

_SHOWN = 40  # characters of a pattern
_LINES = frozenset(("title", "summary"))
_SCHEMAS = ("schema", "body_schema")


class Wrong(ValueError):
    """Metadata that can't be used. The text says why."""


def read_json(text: str, key: str) -> Any:
    """The value of the metadata with this key. Raises Wrong."""
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise Wrong(f"{key}: {error}") from None


def check_bounds(route: dict[str, Any]) -> Mapping[tuple[int, str], int]:
    """The bytes of each of its patterns, compiled, by the identity of the value that has it. Raises Wrong for a route
    that would take too much time or memory."""
    if (count := count_values(route)) > MAX_VALUES:
        raise Wrong(f"its route and its schemas have {count} values, and may have {MAX_VALUES}")
    found = list(_list_patterns(route))
    if (count := len({pattern for _, pattern in found})) > MAX_PATTERNS:
        raise Wrong(f"it has {count} patterns, and may have {MAX_PATTERNS}")
    sizes = {(place, pattern): measure_pattern(pattern) for place, pattern in found}
    for (_, pattern), size in sizes.items():
        if size > MAX_PATTERN:
            shown = pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}…"
            raise Wrong(f"its pattern {shown} takes more than {MAX_PATTERN // 1024} KiB, since it repeats too much")
    if sum(sizes.values()) > MAX_PATTERN_BYTES:
        raise Wrong(
            f"its patterns take more than {MAX_PATTERN_BYTES // 1024**2} MiB together, since they repeat too much"
        )
    return sizes


def _list_patterns(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, dict):
        if isinstance(pattern := value.get("pattern"), str):
            yield id(value), pattern
        if isinstance(named := value.get("patternProperties"), dict):
            yield from ((id(named), pattern) for pattern in named)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _list_patterns(inner)


def refuse_files(value: Any, place: str) -> None:
    """A schema that is a text would be the name of a file on the machine of the gateway. Raises Wrong."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _SCHEMAS and isinstance(inner, str):
                raise Wrong(f"{place}: {key} must be a JSON Schema, and not the name of a file")
            refuse_files(inner, place)
    elif isinstance(value, list):
        for inner in value:
            refuse_files(inner, place)


def clean_texts(value: Any) -> Any:
    """The same value, with all its texts for people as `clean` writes them."""
    if isinstance(value, list):
        return [clean_texts(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: _clean_text(key, inner) for key, inner in value.items()}


def _clean_text(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return clean(value) if key == "description" else clean_line(value) if key in _LINES else value
    if key == "headers" and isinstance(value, dict):  # each header of a status with its description
        return {name: clean(inner) if isinstance(inner, str) else clean_texts(inner) for name, inner in value.items()}
    return clean_texts(value)
