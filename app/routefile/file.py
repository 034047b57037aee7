"""A valid route file, as the gateway uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..discovery.infos import Remark
from ..edge.identity import Scheme
from ..edge.rate_limit import Counter
from ..formats.schemas import Json
from ..formats.shared_schemas import SharedSchemas
from ..routing.table import RouteTable
from .auth import SchemeSource
from .discover import DiscoverModel
from .signatures import Secrets


@dataclass(frozen=True, slots=True)
class Info:
    """The name and description of the API in its documentation. An empty version means the version of the gateway."""

    title: str = "NATS HTTP gateway"
    version: str = ""
    description: str = ""
    more: Mapping[str, Json] = field(default_factory=dict)
    """`contact` and `license`, as in OpenAPI, if the file has them."""


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A valid route file.

    - `declared` has the routes as they are written, each joined with its `defaults`.
    - `schemas` has their shared schemas, and those from files.
    - `servers` and `tags` are as in OpenAPI.
    - `schemes` are the schemes of `auth`, and `sources` the checked data that they were made from.
    - `secrets` are those of signatures, by file.
    - `cors` and `rate_limits` are the keys at the top of the file. `counters` count by `rate_limits`.
    - `discover` says which services have routes besides, and `remarks` what of these services is not used.
    - `files` are all files that were read, the route file first, and the folders that were searched for patterns."""

    table: RouteTable
    info: Info
    declared: Sequence[Json]
    schemas: SharedSchemas = field(default_factory=SharedSchemas)
    servers: Sequence[Json] = ()
    tags: Sequence[Json] = ()
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    sources: Sequence[SchemeSource] = ()
    cors: Json = None
    rate_limits: Json = None
    counters: Mapping[str, Counter] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)
    discover: DiscoverModel | None = None
    remarks: Sequence[Remark] = ()
    files: Sequence[Path] = ()
