"""Reads the files of a route file: YAML, schemas, keys. An error always names the file."""

import stat
from pathlib import Path

from ..formats.schemas import parse_json
from ..formats.variables import Look
from .faults import RouteFileError
from .schemas import SchemaFile
from .yamltree import Tree, YamlError

MAX_FILE = 64 * 1024 * 1024  # bytes


def read_schema_file(path: Path, name: str) -> SchemaFile:
    """Read a JSON Schema from a JSON or YAML file. Raises RouteFileError."""
    check_kind(path, name)
    data = read_bytes(path, name)
    if path.suffix == ".json":
        try:
            return SchemaFile(parse_json(data), lambda: _parse_yaml(data))
        except ValueError as error:
            raise RouteFileError([f"{name}: {error}"]) from None
    tree = parse(data, name)
    if tree.faults:
        raise RouteFileError([f"{name}:{fault.mark.line}:{fault.mark.column}: {fault.text}" for fault in tree.faults])
    return SchemaFile(tree.data, lambda: tree)


def parse(data: bytes, name: str, look: Look | None = None) -> Tree:
    """Parse the YAML of a file. `name` is for errors, `look` finds the values of variables. Raises RouteFileError."""
    try:
        return _parse_yaml(data, look)
    except YamlError as error:
        raise RouteFileError([f"{name}:{error.mark.line}:{error.mark.column}: {error}"]) from None


def must_be_waited_for(path: Path) -> bool:
    """Whether the file is a named pipe, a device or a socket, so that reading it may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the error comes when it is read
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_kind(path: Path, name: str) -> None:
    """Raises RouteFileError for a named pipe, a device or a socket."""
    if must_be_waited_for(path):
        raise RouteFileError([f"{name}: not a regular file"])


def read_bytes(path: Path, name: str) -> bytes:
    """The contents of a file of at most MAX_FILE bytes. Raises RouteFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # the latter for a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RouteFileError([f"{name}: {reason.lower()}"]) from None
    if len(data) > MAX_FILE:
        raise RouteFileError([f"{name}: it has more than {MAX_FILE} bytes"])
    return data


def _parse_yaml(data: bytes, look: Look | None = None) -> Tree:
    from .yamlparser import parse_yaml  # PyYAML takes 1 MiB, and workers get routes that have been read

    return parse_yaml(data, look)
