"""Reads the files of a route file: YAML, schemas, keys. What can't be read has its name in the error."""

import stat
from pathlib import Path

from ..formats.schemas import parse_json
from ..formats.variables import Look
from .faults import RouteFileError
from .schemas import SchemaFile
from .yamltree import Tree, YamlError, parse_yaml

MAX_FILE = 64 * 1024 * 1024  # bytes


def read_schema_file(path: Path, name: str) -> SchemaFile:
    """A file of a schema, JSON or YAML. Raises RouteFileError."""
    check_kind(path, name)
    data = read_bytes(path, name)
    if path.suffix == ".json":
        try:
            return SchemaFile(parse_json(data), lambda: parse_yaml(data))
        except ValueError as error:
            raise RouteFileError([f"{name}: {error}"]) from None
    tree = parse(data, name)
    if tree.faults:
        raise RouteFileError([f"{name}:{fault.mark.line}:{fault.mark.column}: {fault.text}" for fault in tree.faults])
    return SchemaFile(tree.data, lambda: tree)


def parse(data: bytes, name: str, look: Look | None = None) -> Tree:
    """The YAML of a file of this name. Raises RouteFileError."""
    try:
        return parse_yaml(data, look)
    except YamlError as error:
        raise RouteFileError([f"{name}:{error.mark.line}:{error.mark.column}: {error}"]) from None


def must_be_waited_for(path: Path) -> bool:
    """Whether it is a named pipe, a device or a socket."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # to read it says why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_kind(path: Path, name: str) -> None:
    """Raises RouteFileError for what is no regular file."""
    if must_be_waited_for(path):
        raise RouteFileError([f"{name}: not a regular file"])


def read_bytes(path: Path, name: str) -> bytes:
    """What is in a file. Raises RouteFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:  # the latter for a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RouteFileError([f"{name}: {reason.lower()}"]) from None
    if len(data) > MAX_FILE:
        raise RouteFileError([f"{name}: it has more than {MAX_FILE} bytes"])
    return data
