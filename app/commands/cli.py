"""The command line: `nats-http`, or `python -m app`.

Each command imports what it needs, so that the others start without it.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import CannotStart
from ..http.lane import LaneName

if TYPE_CHECKING:
    from ..settings import Settings

cli = typer.Typer(
    name="nats-http",
    help="An HTTP gateway in front of NATS services. Settings come from the environment; see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[
    Path | None,
    typer.Argument(help="The route file (GATEWAY_ROUTES, else the packaged one with greet).", show_default=False),
]
Host = Annotated[
    str | None, typer.Option(help="Address to listen on (GATEWAY_HOST, else 127.0.0.1).", show_default=False)
]
Port = Annotated[
    int | None,
    typer.Option(help="Port to listen on, 0 picks a free one (PORT, else 8000).", min=0, max=65535, show_default=False),
]


Lane = Annotated[
    LaneName | None,
    typer.Option(
        help="How routes are answered: in the HTTP protocol itself (fast, the default), or as an ASGI application.",
        show_default=False,
    ),
]

ExtendOption = Annotated[
    str | None,
    typer.Option(
        "--extend",
        metavar="MODULE:FUNCTION",
        help="Call this with the application before it serves, to add middleware or pages.",
        show_default=False,
    ),
]


class CommandError(CannotStart):
    """A command can't go on; the text is one clear line that says what to do."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nats-http-gateway {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@cli.command()
def dev(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The route file (GATEWAY_ROUTES, else the packaged one with all examples).", show_default=False
        ),
    ] = None,
    host: Host = None,
    port: Port = None,
    nats_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the NATS server, 0 picks a free one (else 4222, or a free one where that is taken).",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Start the example services beside a route file or NATS of your own.")
    ] = False,
    lane: Lane = None,
    extend: ExtendOption = None,
) -> None:
    """Start NATS, two of each example service and the gateway; Ctrl-C stops it all.

    A route file that you save is taken at once.

    With NATS_URL set that server is used, and none is started.

    With NATS_URL or a route file of your own no example services are started.
    """
    _end_at_signals()
    from ..settings import is_color_wanted, is_nats_url_set, load_settings

    settings = load_settings(check_files=True)
    _check_one_file(file, settings)
    if nats_port is not None and is_nats_url_set():
        raise CommandError("NATS_URL names a server, so that none is started: leave --nats-port out")
    with _listen(settings, host, port) as listener:
        from ..exchange.plans import Limits
        from ..observe.log import configure_logging
        from ..observe.stream import QueuedStream
        from ..routefile.load import EXAMPLES
        from .dev import PartEnded, Stack, run_dev
        from .embedded import ServerMissing
        from .reload import FileSource

        configure_logging(color=is_color_wanted(sys.stderr), readable=True)
        sys.stdout = QueuedStream(sys.stdout)
        path, embedded = file or settings.routes or EXAMPLES, not is_nats_url_set()
        examples = examples or (embedded and path == EXAMPLES)
        stack = Stack(embedded=embedded, nats_port=nats_port, examples=examples, lane=lane, extend=extend)
        try:
            run_dev(settings, listener, FileSource(path, Limits.of(settings)), stack)
        except (PartEnded, ServerMissing, RuntimeError) as error:
            raise CommandError(str(error)) from None


@cli.command()
def serve(
    file: File = None,
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 1,
    lane: Lane = None,
    extend: ExtendOption = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    sign_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the gateway alone, for production. It listens at once, and connects to NATS in the background.

    SIGHUP reads the route file again.
    """
    _end_at_signals()
    if fd is not None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent of a worker sends it new routes
    from ..settings import is_color_wanted, load_settings

    settings = load_settings(check_files=fd is None)  # a worker may be started while a file is being replaced
    _check_one_file(file, settings)
    with _listen(settings, host, port) if fd is None else socket.socket(fileno=fd) as listener:
        from ..exchange.plans import Limits
        from ..observe.log import configure_logging
        from ..routefile.load import GREET
        from .reload import FileSource, PipeSource
        from .serve import run_gateway, run_workers

        configure_logging(color=is_color_wanted(sys.stderr))
        if fd is not None:
            pipe = PipeSource(sys.stdin.fileno())
            run_gateway(settings, listener, pipe, lane=lane, extend=extend, sign_fd=sign_fd)
            return
        source = FileSource(file or settings.routes or GREET, Limits.of(settings))
        if workers == 1:
            run_gateway(settings, listener, source, lane=lane, extend=extend)
        elif not run_workers(settings, listener, source, count=workers, lane=lane, extend=extend):
            raise CommandError("a worker ended right after its start; see its messages above")


@cli.command()
def healthcheck(
    url: Annotated[
        str | None, typer.Option(help="What to ask (default: /readyz of the gateway here).", show_default=False)
    ] = None,
) -> None:
    """Ask a running gateway whether it is ready: exit code 0 or 1. For the health checks of containers."""
    import http.client
    import urllib.error
    import urllib.request

    from ..settings import load_settings

    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - to reach it, not to bind
    target = url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/readyz"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(target, timeout=2) as response:
            typer.echo(response.read().decode())
    except urllib.error.HTTPError as error:
        raise CommandError(f"{target}: {error.code} {error.read(1000).decode('utf-8', 'replace')}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CommandError(f"{target}: {error}") from None


@cli.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Route files (GATEWAY_ROUTES, else the packaged one with greet).", show_default=False),
    ] = None,
) -> None:
    """Check route files: exit code 0, or 1 and a line for each thing that is wrong in any of them.

    A limit over that of the gateway's settings gets a line that begins with "warning". It is no error.
    """
    from ..exchange.plans import Limits, find_lowered
    from ..routefile.load import RouteFileError, load_route_file
    from ..settings import load_settings

    limits = Limits.of(load_settings())
    faults: list[str] = []
    for path in files or [_choose(None)]:
        try:
            table = load_route_file(path).table
        except RouteFileError as error:
            faults += error.faults
            continue
        for line in find_lowered(table, limits):
            typer.echo(f"nats-http: warning: {path}: {line}", err=True)
        count = len(table.routes)
        typer.echo(f"{path}: {count} {'route' if count == 1 else 'routes'}, all right")
    if faults:
        raise RouteFileError(faults)


@cli.command()
def routes(file: File = None) -> None:
    """Print a table of the routes, with the limits that hold under the settings."""
    from ..exchange.plans import Limits, make_plan
    from ..formats.units import format_duration, format_size
    from ..routefile.load import load_route_file
    from ..settings import load_settings

    rows = [("NAME", "METHOD", "PATH", "SUBJECT", "PAYLOAD", "TIMEOUT", "MAX BODY")]
    limits = Limits.of(load_settings())
    for route in load_route_file(_choose(file)).table.routes:
        plan = make_plan(route, limits, is_alone=False, before=None)
        payloads = dict.fromkeys(map(route.choose_payload, route.methods))
        most = format_size(plan.max_body) if "body" in payloads else "-"
        shown = format_duration(plan.timeout), most
        rows.append((route.name, ",".join(route.methods), route.path, route.subject, ",".join(payloads), *shown))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@cli.command()
def explain(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    target: Annotated[str, typer.Argument(help="Path and query, as in a request line: '/orders/7?x=1'.")],
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="A request header, 'name: value'.")] = None,
    data: Annotated[
        str | None, typer.Option("-d", "--data", help="The request body; @FILE reads it from there.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--routes", help="The route file (GATEWAY_ROUTES).", show_default=False)
    ] = None,
    peer: Annotated[str, typer.Option("--from", help="The IP address of the caller.")] = "127.0.0.1",
) -> None:
    """Show what a request would be translated to, without sending it. Exits with 1 if it would be refused."""
    from ..routefile.load import load_route_file
    from ..settings import load_settings
    from .explain import explain_request

    body = None if data is None else _read_data(data)
    pairs = [_parse_header(text) for text in header or []]
    table = load_route_file(_choose(file)).table
    is_sent, text = explain_request(load_settings(), table, method, target, headers=pairs, body=body, peer=peer)
    typer.echo(text)
    if not is_sent:
        raise typer.Exit(1)


@cli.command()
def openapi(file: File = None) -> None:
    """Print the OpenAPI document of the routes."""
    from ..prepared import prepare
    from ..routefile.load import load_route_file

    prepared = prepare(load_route_file(_choose(file)))
    typer.echo(json.dumps(json.loads(prepared.openapi), indent=2, ensure_ascii=False))


@cli.command()
def schema() -> None:
    """Print the JSON Schema of route files, for editors."""
    from ..routefile.model import build_schema

    typer.echo(json.dumps(build_schema(), indent=2, ensure_ascii=False))


def _check_one_file(file: Path | None, settings: "Settings") -> None:
    if file and settings.routes:
        raise CommandError(f"{file}: GATEWAY_ROUTES names {settings.routes}: give one of the two")


def _choose(file: Path | None) -> Path:
    from ..routefile.load import GREET
    from ..settings import load_settings

    return file or load_settings().routes or GREET


def _read_data(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"{text[1:]}: {(error.strerror or str(error)).lower()}") from None


def _parse_header(text: str) -> tuple[bytes, bytes]:
    from ..formats.fields import is_token

    name, colon, value = text.partition(":")
    if not colon or not is_token(name):
        raise CommandError(f"-H '{text}': a header is 'name: value'")
    return name.lower().encode("ascii"), value.strip().encode("utf-8", "surrogateescape")


def _end_at_signals() -> None:
    """While nothing is started there is nothing to stop but the log. Not by an exception: an import can swallow it."""

    def end(*_: object) -> None:
        if finish := getattr(sys.stderr, "finish", None):  # of a QueuedStream
            finish()
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _open_missing_streams() -> None:
    """stdin, stdout or stderr may be closed at the start (`2>&-`). Put /dev/null in their place: else a connection
    would get the number of stderr, and all that a library writes there."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - as long as the process


def _listen(settings: "Settings", host: str | None, port: int | None) -> socket.socket:
    from ..http.sockets import bind

    host = settings.host if host is None else host
    port = settings.port if port is None else port
    try:
        return bind(host, port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(
            f"can't listen on {host} port {port}: {reason}; choose another with --port or PORT"
        ) from None


def main() -> None:
    """The console script. A wrong setting or a command that can't go on: one line on stderr and exit code 1."""
    _open_missing_streams()
    try:
        cli()
    except CannotStart as error:
        for line in str(error).splitlines():
            print(f"nats-http: {line}", file=sys.stderr)
        sys.exit(1)
