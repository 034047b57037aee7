"""The command line: `nats-http`, or `python -m app`."""

import http.client
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from typing import Annotated

import typer

from app import __version__
from app.settings import Settings, SettingsError, is_color_wanted, is_nats_url_set, load_settings

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
    typer.Option(help="Port to listen on, 0 picks a free one (PORT, else 8000).", min=0, max=65535, show_default=False),
]


class CommandError(Exception):
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
def dev(host: Host = None, port: Port = None) -> None:
    """Start NATS, two of each example responder and the gateway; Ctrl-C stops it all.

    With NATS_URL set that server is used and none is started.
    """
    _end_at_signals()
    from app.dev import PartEnded, run_dev
    from app.devserver import ServerMissing
    from app.observe.log import configure_logging

    settings = load_settings()
    configure_logging(color=is_color_wanted(sys.stderr))
    with _listen(settings, host, port) as listener:
        try:
            run_dev(settings, listener, embedded=not is_nats_url_set())
        except (PartEnded, ServerMissing, RuntimeError) as error:
            raise CommandError(str(error)) from None


@cli.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 1,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the gateway alone, for production. It listens at once, and connects to NATS in the background."""
    _end_at_signals()
    from app.observe.log import configure_logging
    from app.serve import serve_here, serve_with_workers

    settings = load_settings()
    configure_logging(color=is_color_wanted(sys.stderr))
    with socket.socket(fileno=fd) if fd is not None else _listen(settings, host, port) as listener:
        if workers == 1:
            serve_here(settings, listener)
        elif not serve_with_workers(settings, listener, workers):
            raise CommandError("a worker ended right after its start; see its messages above")


@cli.command()
def healthcheck(
    url: Annotated[
        str | None, typer.Option(help="What to ask (default: /readyz of the gateway here).", show_default=False)
    ] = None,
) -> None:
    """Ask a running gateway whether it is ready: exit code 0 or 1. For the health checks of containers."""
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


def _end_at_signals() -> None:
    """While nothing is started there is nothing to stop. Not by an exception: an import can swallow it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def _listen(settings: Settings, host: str | None, port: int | None) -> socket.socket:
    from app.server import bind

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
    try:
        cli()
    except (CommandError, SettingsError) as error:
        for line in str(error).splitlines():
            print(f"nats-http: {line}", file=sys.stderr)
        sys.exit(1)
