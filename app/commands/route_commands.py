"""The commands for route files: check, routes, explain, openapi, schema. Each imports what it needs."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import DataOption, File, HeaderOption, choose_file, parse_header, read_data
from .live import LiveOption, load_routes

if TYPE_CHECKING:
    from ..edge.request import Request


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Route files (GATEWAY_ROUTES, else the packaged file with greet).", show_default=False),
    ] = None,
) -> None:
    """Check route files. The exit code is 0, or 1 with a line for each fault of any file.

    A line that begins with "warning" is about something that is allowed, but may be a mistake:

    - a limit above the limit of the gateway's settings
    - a `cors` for pages of any origin
    - a scheme or a rate limit that no route uses
    - a scheme of certificates, if no caller can show a certificate
    - keys that never expire, or have expired
    - in a file with `auth`, routes that change something and are open to everybody
    - a GET that publishes a message
    """
    from ..exchange.plans import Limits, find_lowered
    from ..routefile.advice import find_advice
    from ..routefile.load import RouteFileError, load_route_file
    from ..routefile.pages import check_pages
    from ..settings import load_settings

    settings = load_settings()
    limits = Limits.of(settings)
    faults: list[str] = []
    for path in files or [choose_file(None)]:
        try:
            file = load_route_file(path)
            check_pages(settings, file.schemes, file.table.routes)
        except RouteFileError as error:
            faults += error.faults
            continue
        for line in (
            *find_lowered(file.table, limits),
            *find_advice(
                file,
                pages=settings.pages_auth.schemes if settings.pages_auth else (),
                can_be_shown=settings.takes_client_certificates,
                now=time.time(),
            ),
        ):
            typer.echo(f"nats-http: warning: {path}: {line}", err=True)
        count = len(file.table.routes)
        typer.echo(f"{path}: {count} {'route' if count == 1 else 'routes'}, all right")
    if faults:
        raise RouteFileError(faults)


def routes(file: File = None, live: LiveOption = False) -> None:
    """Print a table of the routes, with the limits that apply under the current settings.

    If any route restricts its callers, the table also says who may call (`open` is everybody),
    how often, from which networks, and from pages of which origins.
    """
    from ..exchange.plans import Limits, make_plan
    from ..formats.units import format_duration, format_size
    from ..routing.words import sends_body
    from ..settings import load_settings
    from .rules import list_columns

    table = load_routes(choose_file(file), live=live).table
    columns = list(list_columns(table.routes))
    titles = "NAME", "METHOD", "PATH", "SUBJECT", "PAYLOAD", "TIMEOUT", "MAX BODY"
    rows: list[tuple[str, ...]] = [(*titles, *(title for title, _ in columns))]
    limits = Limits.of(load_settings())
    for index, route in enumerate(table.routes):
        plan = make_plan(route, limits, is_alone=False, before=None)
        payloads = dict.fromkeys(map(route.choose_payload, route.methods))
        most = format_size(plan.max_body) if sends_body(route.payload, route.methods) else "-"
        shown = format_duration(plan.timeout), most, *(cells[index] for _, cells in columns)
        rows.append((route.name, ",".join(route.methods), route.path, route.subject, ",".join(payloads), *shown))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def explain(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    target: Annotated[str, typer.Argument(help="Path and query, as in a request line: '/orders/7?x=1'.")],
    header: HeaderOption = None,
    data: DataOption = None,
    file: Annotated[
        Path | None, typer.Option("--routes", help="The route file (GATEWAY_ROUTES).", show_default=False)
    ] = None,
    peer: Annotated[str, typer.Option("--from", help="The IP address of the caller.")] = "127.0.0.1",
    live: LiveOption = False,
) -> None:
    """Show what a request would be translated to, without sending it. Exits with 1 if it would be refused.

    If the route has `auth`, the output also says who the caller is, or why nobody knows.
    For a token, this command may fetch the keys of the issuer.
    It accepts tokens of `nats-http token` too, and says so.

    For one of the gateway's own pages, the output says who may see it (GATEWAY_PAGES_AUTH),
    and whether this caller may.
    """
    from ..routefile.cors import read_cors
    from ..settings import load_settings
    from .callers import prepare_keys
    from .explain import explain_request

    body = None if data is None else read_data(data)
    pairs = [(name.lower(), value) for name, value in map(parse_header, header or [])]
    loaded = load_routes(choose_file(file), live=live)
    settings = load_settings()
    prepare_keys(loaded.schemes.values())

    def explain_page(request: "Request") -> tuple[bool, str] | None:
        from .explain_page import explain_page  # slow to load

        return explain_page(settings, loaded, request)

    is_sent, text = explain_request(
        settings,
        loaded.table,
        method,
        target,
        headers=pairs,
        body=body,
        peer=peer,
        cors=read_cors(loaded.cors),
        explain_page=explain_page,
    )
    typer.echo(text)
    if not is_sent:
        raise typer.Exit(1)


def openapi(file: File = None, live: LiveOption = False) -> None:
    """Print the OpenAPI document of the routes. If GATEWAY_ROOT_PATH is set, the document names it as its server."""
    from ..prepared import prepare
    from ..settings import load_settings

    root = load_settings().root_path or ""
    document = prepare(load_routes(choose_file(file), live=live)).write_openapi(root)
    typer.echo(json.dumps(json.loads(document), indent=2, ensure_ascii=False))


def schema() -> None:
    """Print the JSON Schema of route files, for editors."""
    from ..routefile.editor_schema import build_schema

    typer.echo(json.dumps(build_schema(), indent=2, ensure_ascii=False))
