"""The command line: `nats-http`, or `python -m nats_http_gateway`.

Each command imports its own modules, so that other commands start without them.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import CannotStart
from ..http.lane import LaneName
from .arguments import File, check_one_file
from .call_command import call
from .discover_command import discover
from .endings import CommandError, end_at_signals, say_why
from .hangups import Hangups
from .keys_command import keys
from .lean import lean_imports
from .listeners import listen
from .route_commands import check, explain, openapi, routes, schema
from .settings_command import settings
from .token_command import token
from .top_command import top

if TYPE_CHECKING:
    from ..settings import Settings
    from .reload import FileSource
    from .systemd import Notifier

cli = typer.Typer(
    name="nats-http",
    help="An HTTP gateway in front of NATS services. Settings come from the environment; see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Host = Annotated[
    str | None, typer.Option(help="Address to listen on (GATEWAY_HOST, else 127.0.0.1).", show_default=False)
]
Port = Annotated[
    int | None,
    typer.Option(help="Port to listen on; 0 picks a free one (PORT, else 8000).", min=0, max=65535, show_default=False),
]

Lane = Annotated[
    LaneName | None,
    typer.Option(
        help="The lane that answers requests: fast (the HTTP protocol itself) or asgi (an application). Default: fast, "
        "or asgi if the application has middleware.",
        show_default=False,
    ),
]

ExtendOption = Annotated[
    str | None,
    typer.Option(
        "--extend",
        metavar="MODULE:FUNCTION",
        help="A function that gets the application before it serves, to add middleware or pages.",
        show_default=False,
    ),
]


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
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The route file (GATEWAY_ROUTES, else the packaged file with all examples).", show_default=False
        ),
    ] = None,
    host: Host = None,
    port: Port = None,
    nats_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the NATS server; 0 picks a free one (else 4222, or a free one if 4222 is taken).",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Start the example services in any case.")] = False,
    lane: Lane = None,
    extend: ExtendOption = None,
) -> None:
    """Start a NATS server, the gateway and, unless you name a route file, the example services. Ctrl-C stops them all.

    When you save the route file, the gateway loads it again.

    Two processes of each example service start.

    If NATS_URL is set, this command uses that server, and starts neither a NATS server nor example services.

    The option --examples starts the example services in any case. The gateway has one worker.
    """
    hangups = _take_signals(context)
    from ..settings import is_color_wanted, is_nats_url_set, load_settings

    settings = load_settings(check_files=True)
    check_one_file(file, settings)
    if nats_port is not None and is_nats_url_set():
        raise CommandError("NATS_URL names a server, so `nats-http dev` starts none: leave --nats-port out")
    if settings.workers > 1:
        typer.echo(f"nats-http: warning: dev has one worker; GATEWAY_WORKERS={settings.workers} is for serve", err=True)
    with listen(settings, host, port) as listeners:
        with lean_imports():
            from ..observe.log import configure_logging
            from ..observe.stream import QueuedStream
            from ..routefile.load import DISCOVERED, EXAMPLES
            from .dev import PartEnded, Stack, run_dev
            from .embedded import ServerMissing

        color = is_color_wanted(sys.stderr)
        configure_logging(color=color, form=settings.log_format or "text", level=settings.log_level)
        sys.stdout = QueuedStream(sys.stdout)
        path = file or settings.routes or (DISCOVERED if settings.discover else EXAMPLES)
        embedded = not is_nats_url_set()
        examples = examples or (embedded and path == EXAMPLES)
        stack = Stack(embedded=embedded, nats_port=nats_port, examples=examples, lane=lane, extend=extend)
        try:
            run_dev(settings, listeners, _open_source(path, settings, hangups), stack)
        except (PartEnded, ServerMissing, RuntimeError) as error:
            raise CommandError(str(error)) from None


@cli.command()
def serve(
    context: typer.Context,
    file: File = None,
    host: Host = None,
    port: Port = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes (GATEWAY_WORKERS, else 1).", min=1, show_default=False)
    ] = None,
    lane: Lane = None,
    extend: ExtendOption = None,
) -> None:
    """Run the gateway alone, for production. It listens at once, and connects to NATS in the background.

    At SIGHUP it reads the route file and the certificate again. With GATEWAY_WATCH=on it does so when they change.
    """
    hangups = _take_signals(context)
    with lean_imports():
        from ..settings import is_color_wanted, load_settings
        from .activation import take_sockets
        from .systemd import Notifier

    notifier, given = Notifier.take(), take_sockets()
    settings = load_settings(check_files=True)
    check_one_file(file, settings)
    with listen(settings, host, port, given) as listeners:
        with lean_imports():
            from ..observe.log import configure_logging
            from ..routefile.load import DISCOVERED, GREET
            from .parent import run_workers
            from .serve import run_gateway

        configure_logging(color=is_color_wanted(sys.stderr), form=settings.log_format, level=settings.log_level)
        path = file or settings.routes or (DISCOVERED if settings.discover else GREET)
        source = _open_source(path, settings, hangups, notifier)
        source.discover_at(settings.nats_variables)
        if settings.watch:
            from .looks import look_in_background

            look_in_background(source)
        count = workers or settings.workers
        if count == 1:
            run_gateway(settings, listeners, source, lane=lane, extend=extend, notifier=notifier)
        elif not run_workers(settings, listeners, source, notifier, count=count, lane=lane, extend=extend):
            raise CommandError("a worker ended right after its start; see its messages above")


@cli.command()
def healthcheck(
    url: Annotated[
        str | None, typer.Option(help="The URL to ask (else /readyz on this machine).", show_default=False)
    ] = None,
) -> None:
    """Ask a running gateway whether it is ready: exit code 0 if it is, else 1. For health checks of containers."""
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    from ..settings import load_settings

    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - to reach it, not to bind
    target = url or f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/readyz"
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url is None:  # our certificate is for the name that callers use
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=context))
    direct = urllib.request.build_opener(*handlers)
    try:
        with direct.open(target, timeout=2) as response:
            typer.echo(response.read().decode())
    except urllib.error.HTTPError as error:
        raise CommandError(f"{target}: {error.code} {error.read(1000).decode('utf-8', 'replace')}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CommandError(f"{target}: {error}") from None


for _command in (check, routes, explain, call, discover, openapi, schema, settings, token, top):
    cli.command()(_command)
cli.add_typer(keys)


def _open_source(
    path: Path, settings: "Settings", hangups: Hangups, notifier: "Notifier | None" = None
) -> "FileSource":
    from ..exchange.plans import Limits
    from .reload import FileSource

    return FileSource(
        path,
        Limits.of(settings),
        settings.certificate_files,
        takes_client_certificates=settings.takes_client_certificates,
        hangups=hangups,
        notifier=notifier,
    )


def _take_signals(context: typer.Context) -> Hangups:
    """Until the command serves, SIGINT and SIGTERM end it at once. SIGHUP ends nothing; the console script has set that
    up before."""
    end_at_signals()
    return context.obj if isinstance(context.obj, Hangups) else Hangups()


def _open_missing_streams() -> None:
    """Open /dev/null in place of stdin, stdout or stderr if it is closed (`2>&-`). Otherwise a connection could get the
    number of stderr, and then everything that a library writes there."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - as long as the process


def main(hangups: Hangups | None = None) -> None:
    """Run the typed command. A wrong setting, or a command that can't continue, is one line on stderr and exit code 1.
    `hangups` has the SIGHUPs since the start."""
    _open_missing_streams()
    try:
        cli(obj=hangups)
    except CannotStart as error:
        say_why(error)
        sys.exit(1)
