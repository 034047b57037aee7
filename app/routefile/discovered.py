"""Adds the routes of services to those of a route file.

Laws:
1. A route of the file never yields to one of a service. Of two services that want one path, the one that was known
   first keeps it.
2. A route of a service is checked like any other. A fault is a Remark, and only this route is left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from ..discovery.declarations import Declaration, declare
from ..discovery.infos import Remark, Service
from ..formats.schemas import Json
from ..routing.routes import Route
from ..routing.table import RouteTable, TableError
from .auth import Auth, AuthRulesModel
from .discover import DiscoverModel, choose_auth, is_allowed
from .pages import CATALOGUE
from .protected import Protected

Build = Callable[[dict[str, Json], str], tuple[Route | None, dict[str, Json], Sequence[str]]]
"""Checks and makes a route from its keys, joined with `defaults`. The text names the endpoint. Returns also these keys,
and the faults."""

_AUTH: TypeAdapter[AuthRulesModel] = TypeAdapter(Auth)


@dataclass(slots=True)
class Discovered:
    """The routes of services: as they are declared, the table of all routes, and what could not be used."""

    table: RouteTable
    declared: list[dict[str, Json]] = field(default_factory=list)
    tags: list[Json] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Made:
    declaration: Declaration
    declared: dict[str, Json]
    route: Route


def discover(
    services: Iterable[Service],
    rules: DiscoverModel,
    table: RouteTable,
    *,
    build: Build,
    protected: Protected,
    reserved: Sequence[str],
) -> Discovered:
    """The routes of those services that `rules` names. `table` has the routes of the file."""
    result = Discovered(table)
    made: list[_Made] = []
    for service in services:
        if service.info.name in rules.services:
            own = list(_make_routes(service, rules, build, protected, result.remarks))
            made += own
            if own:
                result.tags.append(_describe(service))
    _add_to_table(result, made, reserved)
    return result


def _make_routes(
    service: Service, rules: DiscoverModel, build: Build, protected: Protected, remarks: list[Remark]
) -> Iterable[_Made]:
    for declaration in declare(service.info, remarks):
        try:
            protected.check(declaration.route)
            keys = _complete(declaration.route, rules)
        except ValueError as error:
            remarks.append(Remark(declaration.service, declaration.endpoint, str(error)))
            continue
        route, declared, faults = build(keys, f"{declaration.service}.{declaration.endpoint}")
        if route is None or faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            remarks.append(Remark(declaration.service, declaration.endpoint, f"{faults[0]}{more}"))
        else:
            yield _Made(declaration, declared, route)


def _complete(route: Mapping[str, Json], rules: DiscoverModel) -> dict[str, Json]:
    """The keys with what the route file says about services. Raises ValueError if it does not allow the route."""
    keys = dict(route)
    subject = keys["subject"]
    if isinstance(subject, str) and not is_allowed(subject, rules.subjects):
        raise ValueError(f"its subject {subject} is not among `discover.subjects`")
    if rules.prefix and isinstance(keys["path"], str):
        keys["path"] = rules.prefix + keys["path"]
    if str(keys["path"]).split("/")[1:2] == [CATALOGUE]:
        raise ValueError(f"its path {keys['path']} may be the gateway's own page /{CATALOGUE}")
    if auth := choose_auth(_read_auth(keys.get("auth"), rules.auth), rules.auth):
        keys["auth"] = auth.model_dump(exclude_defaults=True)
    if rules.nats is not None:
        keys["nats"] = rules.nats
    return keys


def _read_auth(asked: Json, floor: AuthRulesModel | None) -> AuthRulesModel | None:
    """The `auth` that a service asks for. Scopes or claims alone add to `floor`. Raises ValueError."""
    if asked is None:
        return None
    base = floor if floor is not None and isinstance(asked, dict) and "any" not in asked else None
    try:
        own = _AUTH.validate_python({**asked, "any": base.any} if base and isinstance(asked, dict) else asked)
    except ValidationError as error:
        raise ValueError(f"auth: {error.errors()[0]['msg']}") from None
    if base is None:
        return own
    scopes = dict.fromkeys((*base.scopes, *own.scopes))
    return own.model_copy(update={"scopes": list(scopes), "claims": {**own.claims, **base.claims}})


def _describe(service: Service) -> Json:
    """The tag of a service in the documentation."""
    info = service.info
    text = f"{info.description} (version {info.version})" if info.description else f"Version {info.version}"
    return {"name": info.name, "description": text}


def _add_to_table(result: Discovered, made: list[_Made], reserved: Sequence[str]) -> None:
    """Add the routes that fit. Those that do not are a Remark."""
    before = result.table.routes
    while made:
        try:
            result.table = RouteTable([*before, *(one.route for one in made)], reserved=reserved)
        except TableError as error:
            faults = {index - len(before): fault for index, fault in error.faults if index >= len(before)}
            for index, fault in faults.items():
                declaration = made[index].declaration
                result.remarks.append(Remark(declaration.service, declaration.endpoint, fault.text))
            made = [one for index, one in enumerate(made) if index not in faults]
        else:
            break
    result.declared = [one.declared for one in made]
