"""Finds the routes that a path without a route was probably meant for."""

import difflib

from ..routing.paths import find_parameter
from ..routing.table import RouteTable

MAX_NEAR = 3  # routes that are named
_LIKENESS = 0.7  # at least, from 0 to 1


def list_near(table: RouteTable, path: str) -> list[str]:
    """The path templates that are most similar to this path, the best first. Parameters are as similar as can be."""
    given = path.split("/")[1:]
    filled: dict[str, str] = {}
    for route in table.routes:
        texts = [*given, *[""] * len(route.segments)]
        parts = (text if find_parameter(part) else part for part, text in zip(route.segments, texts, strict=False))
        filled.setdefault("/" + "/".join(parts), route.path)
    close = difflib.get_close_matches(path, filled, n=MAX_NEAR, cutoff=_LIKENESS)
    return list(dict.fromkeys(filled[name] for name in close))
