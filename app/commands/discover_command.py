"""`nats-http discover`: which services answer on NATS, and the routes that they would have."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..formats.words import suggest
from .endings import CommandError
from .live import ask

if TYPE_CHECKING:
    from ..discovery.infos import Remark, Service

_TITLES = "SERVICE", "VERSION", "INSTANCES", "ENDPOINT", "SUBJECT", "ROUTE"


@dataclass(frozen=True, slots=True)
class Drafts:
    """What was found: the services, the keys of their routes by service and endpoint, and what can't be used."""

    services: "Sequence[Service]"
    routes: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    notes: Mapping[str, Sequence[str]]
    """What a person should look at, by the name of the route."""
    remarks: "Sequence[Remark]"


def discover(
    service: Annotated[
        list[str] | None, typer.Option("--service", help="The name of a service; may be repeated. Default: all.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Write the routes into this route file. If it is there, routes that it does not have are added, and "
            "nothing else in it changes.",
        ),
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option("--nats", help="The NATS cluster or account, a name of GATEWAY_NATS.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Ask the services on NATS what they are (ADR-32), and show the routes that they would have.

    The settings say where NATS is (NATS_URL). The exit code is 1 if no service answers.

    A line that begins with "warning" is about something that the gateway would not use.
    """
    drafts = make_drafts(*ask(service or [], nats), nats=nats)
    if not drafts.services:
        raise CommandError(_describe_silence(service or [], nats))
    if as_json:
        typer.echo(_write_json(drafts))
    else:
        for line in _write_table(drafts):
            typer.echo(line)
    for remark in drafts.remarks:
        typer.echo(f"nats-http: warning: {remark}", err=True)
    if write is not None:
        from .route_writer import write_routes

        added, known = write_routes(write, drafts)
        rest = f"; {known} {'was' if known == 1 else 'were'} there already" if known else ""
        typer.echo(f"{write}: {added} {'route' if added == 1 else 'routes'} added{rest}", err=as_json)


def _describe_silence(names: "Sequence[str]", nats: str | None) -> str:
    """Why nothing can be shown: no service has answered, or not one of these names."""
    if names:
        others = sorted({one.info.name for one in ask([], nats)[0]})
        near = "".join(suggest(name, others) for name in names)
        rest = near or f"; others do: {', '.join(others)}" if others else ", nor does any other service"
        return f"no service named {' or '.join(names)} answers on $SRV.INFO{rest}"
    return "no service answers on $SRV.INFO: services made with a `micro` library of NATS do"


def make_drafts(services: "Sequence[Service]", remarks: "Sequence[Remark]", *, nats: str | None = None) -> Drafts:
    """The routes of these services, checked as `discover` of a route file does it. With `nats` they name this NATS
    cluster."""
    from ..discovery.declarations import declare
    from ..formats.clusters import MAIN
    from ..routefile.load import load_route_file

    names = [service.info.name for service in services]
    if not names:
        return Drafts(services, {}, {}, remarks)
    with tempfile.TemporaryDirectory(prefix="nats-http-") as directory:
        path = Path(directory, "routes.yaml")
        path.write_text(json.dumps({"version": 1, "discover": names}))
        file = load_route_file(path, services, remarks)
    right = {route.name for route in file.table.routes}
    routes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    notes: dict[str, Sequence[str]] = {}
    for service in services:
        for declaration in declare(service.info, []):
            name = declaration.route["name"]
            if name in right:
                right.discard(name)  # of two services with the same name for a route, the first has it
                more = {} if nats in (None, MAIN) else {"nats": nats}
                routes.setdefault((declaration.service, declaration.endpoint), []).append({**declaration.route, **more})
                notes[name] = declaration.notes
    return Drafts(services, routes, notes, file.remarks)


def _write_json(drafts: Drafts) -> str:
    services = [
        {
            "name": service.info.name,
            "version": service.info.version,
            "description": service.info.description,
            "instances": service.instances,
            "endpoints": [
                {**asdict(endpoint), "routes": drafts.routes.get((service.info.name, endpoint.name), [])}
                for endpoint in service.info.endpoints
            ],
        }
        for service in drafts.services
    ]
    return json.dumps({"services": services, "remarks": list(map(asdict, drafts.remarks))}, indent=2)


def _write_table(drafts: Drafts) -> Iterator[str]:
    rows = [_TITLES, *_list_rows(drafts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _list_rows(drafts: Drafts) -> Iterator[tuple[str, ...]]:
    for service in drafts.services:
        info = service.info
        about = (info.name, info.version, str(service.instances))
        for endpoint in info.endpoints:
            for route in drafts.routes.get((info.name, endpoint.name), [{}]):
                methods = route.get("method", "-")
                method = ",".join(methods) if isinstance(methods, list) else methods
                yield (*about, endpoint.name, endpoint.subject, f"{method} {route.get('path', '')}".strip())
                about = ("", "", "")
        if not info.endpoints:
            yield (*about, "-", "-", "-")
