"""Checked routes. The process that reads the route file packs them, and the processes that serve them unpack them.

Laws:
1. Unpacking takes only short steps: a package has a line of JSON for each route, for each API key and for each schema
   that routes share, and the complete OpenAPI document.
2. Nothing is checked again: the process that packs routes has checked them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path

from . import __version__
from .collector import collector_off
from .discovery.infos import Remark
from .edge.cors import Cors
from .edge.identity import Scheme
from .edge.rate_limit import Counter
from .formats.clusters import MAIN
from .formats.schemas import Json
from .formats.shared_schemas import SharedSchemas
from .pages.openapi import build_openapi
from .pieces import Steps
from .routefile.auth import build_scheme
from .routefile.cors import read_cors
from .routefile.discover import DiscoverModel
from .routefile.load import RouteFile, RouteFileError
from .routefile.model import Declared, RouteModel, to_route
from .routefile.rate_limits import make_counters
from .routing.routes import Route
from .routing.table import RouteTable

_SERVERS = b'"servers": ['  # its first occurrence is near the beginning of the document
_TYPE_OF_PROBLEMS = b'"type": "%b/problems/'

MAX_LOWERED = 100  # lines about lowered limits in a package
MAX_REMARKS = 1000  # remarks about services in a package

_DESCRIPTION = (
    "Each route becomes one NATS request; the reply becomes the response. A failure is a problem document "
    "(RFC 9457) whose `delivered` says whether the service has run: see [the list of problems](problems)."
)


@dataclass(frozen=True, slots=True)
class PreparedRoutes:
    """Routes that are ready to be served. `openapi` is JSON. `schemes` are the schemes of `auth`, by name, and
    `counters` the counters of `rate_limits`, by name. `cors` is for answers without a route, and `remarks` says what of
    the services is not used."""

    table: RouteTable
    title: str
    openapi: bytes
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    cors: Cors | None = None
    counters: Mapping[str, Counter] = field(default_factory=dict)
    remarks: Sequence[Remark] = ()

    def write_openapi(self, root: str) -> bytes:
        """The OpenAPI document for callers who see the gateway under the path `root`, percent-encoded. Its first server
        has this path, and the types of its problems begin with it."""
        if not root:
            return self.openapi
        path = root.encode("ascii")
        moved = self.openapi.replace(_TYPE_OF_PROBLEMS % b"", _TYPE_OF_PROBLEMS % path)
        head, _, rest = moved.partition(_SERVERS)
        others = rest.removeprefix(b'{"url": "/"}').removeprefix(b", ")
        comma = b"" if others[:1] == b"]" else b", "
        return b'%b%b{"url": "%b"}%b%b' % (head, _SERVERS, path, comma, others)


def prepare(file: RouteFile) -> PreparedRoutes:
    """Compute everything that takes time, such as the OpenAPI document, before the routes are served."""
    info = file.info
    about = {
        "title": info.title,
        "version": info.version or __version__,
        "description": info.description or _DESCRIPTION,
        **info.more,
    }
    with collector_off():
        document = build_openapi(file.table, info=about, servers=file.servers, tags=file.tags)
        written = json.dumps(document, ensure_ascii=False).encode("utf-8")
        return PreparedRoutes(
            file.table, info.title, written, file.schemes, read_cors(file.cors), file.counters, file.remarks
        )


def pack(file: RouteFile, *, lowered: Iterable[str] = ()) -> bytes:
    """Pack a route file for `unpack`. `lowered` has a line for each limit of a route that the gateway has lowered."""
    served = prepare(file)
    shared = file.schemas
    head = {
        "title": served.title,
        "cors": file.cors,
        "rate_limits": file.rate_limits,
        "secrets": dict(file.secrets),
        "routes": len(file.declared),
        "lowered": list(islice(lowered, MAX_LOWERED)),
        "files": list(map(str, file.files)),
        "discover": _pack_discover(file.discover),
        "remarks": [
            (remark.service, remark.endpoint, remark.text, remark.is_missing) for remark in file.remarks[:MAX_REMARKS]
        ],
        "schemas": list(shared.named),
        "schema_files": list(shared.files),
        "schemes": [(source.name, source.declared, len(source.entries)) for source in file.sources],
    }
    entries = (entry for source in file.sources for entry in source.entries)
    items = (head, *shared.named.values(), *shared.files.values(), *entries, *file.declared)
    lines = [json.dumps(item).encode("ascii") for item in items]
    return b"\n".join([*lines, served.openapi])


def _pack_discover(rules: DiscoverModel | None) -> tuple[Sequence[str], float, str] | None:
    return (rules.services, rules.forget_after, rules.nats or MAIN) if rules else None


def pack_faults(faults: Sequence[str], files: Iterable[Path] = ()) -> bytes:
    """Pack the faults of a route file instead of its routes. `files` are the files that it would have come from."""
    return json.dumps({"faults": list(faults), "files": list(map(str, files))}).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a package.

    - `cors` and `rate_limits` are the declarations at the top of the route file.
    - `secrets` has the secrets of signatures, by file.
    - `routes` is the number of routes, and `files` has the names of their files.
    - `discover` has the names of the services that are watched, the seconds until a silent one is forgotten, and the
      name of their NATS cluster.
    - `remarks` says what of these services is not used.
    - `schemas` and `schema_files` have the names of the shared schemas.
    - `schemes` has the name of each scheme of `auth`, its declaration, and the number of its entries."""

    title: str
    cors: Json
    rate_limits: Json
    secrets: Mapping[str, Sequence[str]]
    routes: int
    lowered: Sequence[str]
    files: Sequence[str]
    discover: tuple[Sequence[str], float, str] | None
    remarks: Sequence[Remark]
    schemas: Sequence[str]
    schema_files: Sequence[str]
    schemes: Sequence[tuple[str, Mapping[str, Json], int]]


def read_head(package: bytes) -> Head:
    """The head of a package. Raises RouteFileError if the package has faults instead of routes, and ValueError if this
    is not a package."""
    return _read_head(BytesIO(package))


def unpack(package: bytes) -> Steps[PreparedRoutes]:
    """The routes of a package. Each step takes as long as one route. Raises the same errors as `read_head`."""
    file = BytesIO(package)  # no copy
    head = _read_head(file)
    named = {name: json.loads(file.readline()) for name in head.schemas}
    schemas = SharedSchemas(named, {name: json.loads(file.readline()) for name in head.schema_files})
    schemes: dict[str, Scheme] = {}
    for name, declared, count in head.schemes:
        entries = (json.loads(file.readline()) for _ in range(count))
        schemes[name] = yield from build_scheme(name, declared, entries)
    counters = make_counters(head.rate_limits)
    known = Declared(schemes, counters, head.secrets)
    routes = (_read_route(file.readline(), schemas, known) for _ in range(head.routes))
    table = yield from RouteTable.of_checked(routes)
    return PreparedRoutes(table, head.title, file.read(), schemes, read_cors(head.cors), counters, head.remarks)


def _read_head(file: BytesIO) -> Head:
    head = json.loads(file.readline())
    if "faults" in head:
        raise RouteFileError(head["faults"], [Path(name) for name in head["files"]])
    head["remarks"] = [Remark(*remark) for remark in head["remarks"]]
    return Head(**head)


def _read_route(line: bytes, schemas: SharedSchemas, declared: Declared) -> Route:
    return to_route(RouteModel.model_validate(json.loads(line)), schemas, declared)
