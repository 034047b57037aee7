"""Builds a route file from its documents, and collects all faults on the way."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from ..discovery.infos import Service
from ..formats.clusters import MAIN
from ..formats.schemas import Json
from ..formats.words import find_close
from ..routing.routes import Route, RouteError
from ..routing.table import RouteTable, TableError
from .about import InfoModel
from .auth import find_rule_faults
from .clusters import find_cluster_faults
from .defaults import apply_defaults, join
from .diagnostics import Diagnostics
from .discover import DiscoverModel, read_auth, read_discover
from .discovered import Discovered, discover
from .documents import Document
from .faults import RouteFileError
from .file import Info, RouteFile
from .model import FREE, Declared, DefaultsModel, FileModel, RouteModel, to_route
from .protected import Protected
from .rate_limits import fill_counters, find_limit_faults, make_counters
from .schemas import SchemaFile, SchemaReader, change_schemas
from .schemes import ReadFile, read_schemes
from .signatures import SecretReader
from .validation import validate
from .yamltree import Path as KeyPath
from .yamltree import Tree

if TYPE_CHECKING:
    from ..edge.rate_limit import Counter

RESERVED = (
    "docs",
    "redoc",
    "openapi.json",
    "livez",
    "readyz",
    "healthz",
    "problems",
    "metrics",
    "status",
)  # the gateway's own first segments

# If one of these keys is wrong, the other rules of a route can't be checked.
_ESSENTIAL = frozenset(("name", "method", "path", "subject", "publish", "subscribe", "stream", "params", "payload"))
_OF_THE_FIRST = ("info", "servers", "tags", "auth", "cors", "rate_limits", "discover")
"""Keys for the API as a whole: only the first file may have them."""
_APART = ("defaults", "info", "auth")
"""Keys of mappings that are checked separately."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The keys of one file, for its own routes and for those of the files that it includes. The names of schema files
    are relative to the folder of the first file."""

    document: Document
    about: Mapping[str, Json]
    prefix: str
    defaults: Mapping[str, Json]
    routes: Sequence[Json]


class Builder:
    """Builds the RouteFile from its documents, and collects faults on the way."""

    def __init__(
        self,
        documents: Sequence[Document],
        read_schema: Callable[[str], SchemaFile],
        read_file: ReadFile,
        services: Sequence[Service] = (),
        clusters: Collection[str] = (),
    ) -> None:
        self._documents = documents
        self._clusters = tuple(dict.fromkeys((MAIN, *clusters)))
        self._services = services
        self._schemas = SchemaReader(read_schema)
        self._schemes = read_schemes(documents[0].find("auth"), read_file, documents[0].diagnostics)
        self._counters: dict[str, Counter] = {}
        self._secrets = SecretReader(read_file)

    def build(self) -> RouteFile:
        """Raises RouteFileError."""
        first = self._documents[0]
        parts = self._read_parts()
        self._counters = make_counters(parts[0].about.get("rate_limits"))
        fill_counters(self._counters, first.find("rate_limits"))
        info = validate(InfoModel, first.find("info") or {}, ("info",), first.diagnostics)[0]
        self._add_shared_schemas()
        for part in parts:
            self._check_schemas(part.document, part.defaults, ("defaults",))
        declared, routes = [], []
        for part, index, raw in self._list_declared(parts):
            declared.append(raw)
            if route := self._build_route(part.document, raw, index):
                routes.append((route, part.document, index))
        rules = self._read_discover(parts[0], first)
        table = _build_table(routes)
        faults = dict.fromkeys(fault for document in self._documents for fault in document.diagnostics.faults)
        faults |= dict.fromkeys(self._schemes.faults)
        if faults or table is None or info is None:
            raise RouteFileError(tuple(faults))
        found = self._discover(rules, parts[0], table)
        return RouteFile(
            found.table,
            _to_info(info, self._services),
            [*declared, *found.declared],
            self._schemas.shared,
            servers=_list_entries(parts[0].about, "servers"),
            tags=_join_tags(_list_entries(parts[0].about, "tags"), found.tags),
            schemes=self._schemes.by_name,
            sources=self._schemes.sources,
            cors=parts[0].about.get("cors"),
            rate_limits=parts[0].about.get("rate_limits"),
            counters=self._counters,
            secrets=self._secrets.by_file,
            discover=rules,
            remarks=found.remarks,
        )

    def _add_shared_schemas(self) -> None:
        for document in self._documents:
            named = document.find("schemas")
            moved = {k: document.move_file(v) for k, v in named.items()} if isinstance(named, dict) else {}
            self._schemas.add_shared(moved, document.diagnostics)
        self._schemas.check_shared()

    def _read_discover(self, part: _Part, document: Document) -> DiscoverModel | None:
        """What the file says about services. Its `auth` and its `nats` are those of `defaults` if it has none."""
        found = part.about.get("discover")
        if found is None:
            return None
        rules = DiscoverModel.model_validate(read_discover(found))
        for key, text in find_rule_faults(rules.auth, self._schemes.known) if rules.auth else ():
            document.diagnostics.add_fault(("discover", "auth", *key), text)
        own, changes = rules.nats, {"nats": rules.nats or part.defaults.get("nats")}
        place: KeyPath = ("discover" if own else "defaults", "nats")
        for _, text in find_cluster_faults(str(changes["nats"] or MAIN), self._clusters):
            document.diagnostics.add_fault(place, text)
        inherited = part.defaults.get("auth")
        if rules.auth is None and inherited is not None:
            changes["auth"] = read_auth(inherited)
        return rules.model_copy(update=changes)

    def _discover(self, rules: DiscoverModel | None, part: _Part, table: RouteTable) -> Discovered:
        """The routes of services."""
        if rules is None:
            return Discovered(table)

        def build(keys: dict[str, Json], label: str) -> tuple[Route | None, dict[str, Json], Sequence[str]]:
            """The route of these keys, the keys with their defaults, and what is wrong with them."""
            document = Document(part.document.path, PurePath(), Tree(), Diagnostics(Tree(), ""))
            moved = {**keys, "path": f"{part.prefix}{keys['path']}"}
            joined = self._check_schemas(document, apply_defaults(part.defaults, moved), ("routes", 0))
            if not document.diagnostics.faults:
                change_schemas(joined, partial(self._schemas.check_cost, document.diagnostics))
            if not document.diagnostics.faults:
                joined = change_schemas(joined, partial(self._schemas.share, label))
            route = self._build_route(document, joined, 0)
            return route, joined, [_shorten(fault) for fault in document.diagnostics.faults]

        protected = Protected.of(self._schemes.by_name.values(), table.routes)
        return discover(self._services, rules, table, build=build, protected=protected, reserved=RESERVED)

    def _read_parts(self) -> list[_Part]:
        """One part for each file. A file comes before the files that it includes."""
        parts: dict[Document | None, _Part] = {}
        for document in self._documents:
            above = parts[document.parent] if document.parent else None
            parts[document] = self._read_part(document, above)
        return list(parts.values())

    def _read_part(self, document: Document, above: _Part | None) -> _Part:
        data = document.tree.data
        whole = {k: v for k, v in data.items() if not _comes_later(k, v)} if isinstance(data, dict) else data
        routes = document.find("routes")
        routes = routes if isinstance(routes, list) else []
        about = validate(FileModel, whole, (), document.diagnostics)[1]
        about = about if isinstance(about, dict) else {}
        _check_place(document)
        own = validate(DefaultsModel, document.find("defaults") or {}, ("defaults",), document.diagnostics)[1]
        own = document.move_files(own) if isinstance(own, dict) else {}
        of_all = {"cors": about["cors"]} if "cors" in about else {}
        prefix = about.get("prefix", "")
        return _Part(
            document=document,
            about=about,
            prefix=(above.prefix if above else "") + (prefix if isinstance(prefix, str) else ""),
            defaults=join(above.defaults if above else of_all, own),
            routes=routes,
        )

    def _list_declared(self, parts: Sequence[_Part]) -> Iterator[tuple[_Part, int, Json]]:
        """Each route with its part and its index in its file. The route has the prefix and the defaults of its part. A
        wrong schema is reported, and replaced by `true`."""
        for part in parts:
            for index, route in enumerate(part.routes):
                if isinstance(route, dict):
                    path = route.get("path")
                    own = part.document.move_files(route)
                    whole = {**own, "path": part.prefix + path} if isinstance(path, str) else own
                    joined = apply_defaults(part.defaults, whole)
                    yield part, index, self._check_schemas(part.document, joined, ("routes", index))
                else:
                    yield part, index, route

    def _check_schemas(self, document: Document, declared: Mapping[str, Json], path: KeyPath) -> dict[str, Json]:
        """The same mapping with `true` instead of each wrong schema. Wrong schemas are reported."""

        def check(schema: Json, place: KeyPath) -> Json:
            return self._schemas.check(schema, (*path, *place), document.diagnostics)

        return change_schemas(declared, check)

    def _build_route(self, document: Document, raw: Json, index: int) -> Route | None:
        path: KeyPath = ("routes", index)
        model, _ = validate(RouteModel, raw, path, document.diagnostics, essential=_ESSENTIAL)
        if model is None or not self._check_names(document, raw, model, path):
            return None
        try:
            return to_route(
                model, self._schemas.shared, Declared(self._schemes.by_name, self._counters, self._secrets.by_file)
            )
        except RouteError as error:
            for fault in error.faults:
                document.diagnostics.add_fault((*path, *fault.key), fault.text)
            return None

    def _check_names(self, document: Document, raw: Json, model: RouteModel, path: KeyPath) -> bool:
        """Whether all schemes, limits, secrets and NATS clusters that a route names exist. Others are reported."""
        if model.auth is None and isinstance(raw, dict) and "auth" in raw:
            return False  # the model has reported the fault
        rules = {
            "auth": find_rule_faults(model.auth, self._schemes.known),
            "rate_limit": find_limit_faults(model.rate_limit, self._counters, model.auth),
            "signature": self._secrets.find_faults(model.signature),
            "nats": find_cluster_faults(model.nats, self._clusters),
        }
        faults = [((name, *key), text) for name, found in rules.items() for key, text in found]
        for key, text in faults:
            document.diagnostics.add_fault((*path, *key), text)
        return not faults


def _shorten(fault: str) -> str:
    """A fault of a route that is in no file, without a place in a file."""
    return fault.removeprefix(":1:1: ").replace("routes[0].", "", 1)


def _comes_later(key: str, value: Json) -> bool:
    """Whether a key is ignored, or checked separately."""
    is_mapping = key in _APART and isinstance(value, dict) and value != {}
    has_routes = key == "routes" and isinstance(value, list) and value != []
    return is_mapping or has_routes or key.startswith(FREE)


def _check_place(document: Document) -> None:
    """Report the keys that an included file can't have, and a file without any routes."""
    for key in _OF_THE_FIRST:
        if document.parent and document.find(key) is not None:
            document.diagnostics.add((key,), "only the file that includes this one may have it", of_key=True)
    keys = document.tree.data if isinstance(document.tree.data, dict) else ["routes"]
    sources = ("routes", "include", "discover")
    if not (set(sources) & set(keys) or any(find_close(key, sources) for key in keys)):
        document.diagnostics.add(("routes",), "is missing")


def _build_table(built: Sequence[tuple[Route, Document, int]]) -> RouteTable | None:
    try:
        return RouteTable([route for route, _, _ in built], reserved=RESERVED)
    except TableError as error:
        for number, fault in error.faults:
            _, document, index = built[number]
            document.diagnostics.add_fault(("routes", index, *fault.key), fault.text)
        return None


def _join_tags(own: Sequence[Json], found: Sequence[Json]) -> list[Json]:
    """The tags of the file, and those of services whose names it does not have."""
    known = {tag.get("name") for tag in own if isinstance(tag, dict)}
    return [*own, *(tag for tag in found if isinstance(tag, dict) and tag["name"] not in known)]


def _to_info(model: InfoModel, services: Sequence[Service]) -> Info:
    found = (service.info.version for service in services if service.info.name == model.version_of)
    more = model.model_dump(include={"contact", "license_"}, by_alias=True, exclude_none=True, exclude_defaults=True)
    return Info(model.title, next(found, model.version), model.description, more)


def _list_entries(data: Mapping[str, Json], key: str) -> list[Json]:
    """The mappings of this list, without empty texts."""
    entries = data.get(key)
    return [
        {name: value for name, value in entry.items() if value}
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
    ]
