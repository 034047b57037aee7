"""Loads a route file, strictly. One run reports all errors. Each has its file, line, column, key path and value, and
says what would be right. docs/routes.md is the reference.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..collector import collector_off
from ..discovery.infos import Remark, Service
from ..settings import find_variable, list_cluster_names
from .builder import RESERVED as RESERVED
from .builder import Builder
from .documents import read_documents
from .faults import RouteFileError as RouteFileError
from .file import Info as Info
from .file import RouteFile as RouteFile
from .files import check_kind, parse, read_bytes, read_schema_file
from .schemas import SchemaFile
from .yamltree import Tree

GREET, EXAMPLES, DISCOVERED = (
    Path(__file__).with_name(name) for name in ("greet.yaml", "examples.yaml", "discovered.yaml")
)
"""The packaged route files."""


def load_route_file(
    path: Path,
    services: Sequence[Service] = (),
    remarks: Sequence[Remark] = (),
    *,
    clusters: Collection[str] | None = None,
) -> RouteFile:
    """Read and check a route file and all files that it includes. `services` are those that were found on NATS, in the
    order in which they became known, and `remarks` what of them is not used. `clusters` are the names of NATS clusters
    besides `main`; None means those of the environment. Raises RouteFileError with all faults of the files."""
    known = list_cluster_names() if clusters is None else clusters
    files: dict[Path, None] = {}  # in order

    def read_document(path: Path) -> tuple[Tree, int]:
        files[path] = None
        if len(files) > 1:
            check_kind(path, str(path))
        data = read_bytes(path, str(path))
        return parse(data, str(path), find_variable), len(data)

    def read_schema(name: str) -> SchemaFile:
        files[path.parent / name] = None
        return read_schema_file(path.parent / name, name)

    def read_file(name: str) -> bytes:
        files[path.parent / name] = None
        check_kind(path.parent / name, name)
        return read_bytes(path.parent / name, name)

    with collector_off():
        try:
            documents = read_documents(path, read_document, lambda folder: files.setdefault(folder))
            file = Builder(documents, read_schema, read_file, services, known).build()
            return replace(file, files=tuple(files), remarks=(*remarks, *file.remarks))
        except RouteFileError as error:
            raise RouteFileError(error.faults, tuple(files)) from None
