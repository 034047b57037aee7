"""Route files that a test writes, and what is told of them."""

from pathlib import Path

import pytest

from app.routefile.load import RouteFile, RouteFileError, load_route_file
from app.routing.routes import Route

LEAST = "version: 1\nroutes:\n  - {name: a, method: GET, path: /a, subject: a}\n"


def load(file: Path, text: str) -> RouteFile:
    file.write_text(text, encoding="utf-8")
    return load_route_file(file)


def load_route(file: Path, keys: str, *, path: str = "/a/{id}", method: str = "POST", head: str = "") -> Route:
    """A route with these keys, one a line."""
    lines = [f"method: {method}", f"path: {path}", "subject: a.{id}" if "{id}" in path else "subject: a"]
    body = "\n    ".join([*lines, *keys.splitlines()])
    return load(file, f"version: 1\n{head}routes:\n  - name: a\n    {body}\n").table.routes[0]


def read_faults(file: Path, text: str) -> list[str]:
    """The lines without the name of the file."""
    with pytest.raises(RouteFileError) as caught:
        load(file, text)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return [fault.removeprefix(f"{file}:") for fault in caught.value.faults]
