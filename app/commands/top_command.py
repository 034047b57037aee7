"""`nats-http top`: a live view of a running gateway in the terminal."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import HeaderOption, parse_header, read_data
from .endings import CommandError

if TYPE_CHECKING:
    from .scrapes import Scrape, Scraper
    from .top_screen import Screen
    from .top_view import View

WIDTH = 100  # columns, if the output is no terminal


def top(
    url: Annotated[
        str | None,
        typer.Argument(
            help="The gateway, or its metrics: http://10.0.0.5:8000 (else the one of this machine, as PORT and "
            "GATEWAY_METRICS_ADDRESS say).",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.5, max=3600)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table after one interval, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for programs: one object a line, or with --once one object.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            help="An API key that may see the metrics, sent as X-API-Key; @FILE reads it from a file.",
            show_default=False,
        ),
    ] = None,
    header: HeaderOption = None,
) -> None:
    """Show what a running gateway does: its routes with their rates, failures and times, the worst first.

    It reads /metrics of the gateway, and changes nothing. q or Ctrl-C ends it.

    If the output is no terminal, it prints a table after each interval.

    The exit code is 1 if no gateway answers, or if its metrics can't be read.
    """
    scraper = _make_scraper(url, key, header or [])
    first = scraper.scrape()
    try:
        if once:
            _print(_measure(scraper, first, interval), as_json=as_json, indent=2)
        elif as_json or not (screen := _make_screen()).can_be_used:
            _keep_printing(scraper, first, interval, as_json=as_json)
        else:
            _keep_showing(screen, scraper, first, interval)
    except KeyboardInterrupt:
        raise typer.Exit(1 if once else 0) from None


def _make_screen() -> "Screen":
    from .top_screen import Screen

    return Screen()


def _make_scraper(url: str | None, key: str | None, headers: list[str]) -> "Scraper":
    from .scrapes import Scraper

    pairs = dict(parse_header(text) for text in headers)
    if key is not None:
        pairs[b"X-API-Key"] = read_data(key).strip()
    sent = {name.decode("ascii"): value.decode("latin-1") for name, value in pairs.items()}
    return Scraper(_complete(url) if url else _find_own(), sent, checks_certificate=url is not None)


def _complete(url: str) -> str:
    """The URL of the metrics. Raises CommandError."""
    from urllib.parse import urlsplit

    from .scrapes import METRICS

    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        is_right = False
    if not is_right:
        raise CommandError(f"{url}: give the URL of a gateway, such as http://127.0.0.1:8000")
    return whole if parts.path.strip("/") else f"{whole.rstrip('/')}{METRICS}"


def _find_own() -> str:
    """The URL of the metrics of a gateway with the same settings. Raises CommandError."""
    from ..settings import load_settings
    from .scrapes import METRICS

    settings = load_settings()
    place = settings.metrics
    if place is False:
        raise CommandError("GATEWAY_METRICS_ADDRESS=off: a gateway with these settings serves no metrics")
    host, port = place if isinstance(place, tuple) else (settings.host, settings.port)
    scheme = "http" if isinstance(place, tuple) else settings.scheme
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to reach it, not to bind
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{METRICS}"


def _measure(scraper: "Scraper", first: "Scrape", interval: float) -> "View":
    """The view after one interval. With very many routes the gateway gives the same text again for some seconds."""
    from .top_view import compare

    while True:
        time.sleep(interval)
        after = scraper.scrape()
        if after.text != first.text:
            return compare(first, after)


def _watch(scraper: "Scraper", before: "Scrape") -> Iterator["View | CommandError"]:
    """A view, or the reason why there is none, at each call of `next`. A gateway may restart meanwhile."""
    from .scrapes import ScrapeFailed
    from .top_view import compare

    view: View | None = None
    while True:
        try:
            after = scraper.scrape()
        except ScrapeFailed as error:
            yield error
            continue
        if after.text != before.text or view is None:
            view, before = compare(before, after), after
        yield view


def _keep_printing(scraper: "Scraper", first: "Scrape", interval: float, *, as_json: bool) -> None:
    views = _watch(scraper, first)
    while True:
        time.sleep(interval)
        found = next(views)
        if isinstance(found, CommandError):
            typer.echo(f"nats-http: {found}", err=True)
        else:
            _print(found, as_json=as_json, indent=None)
            if not as_json:
                typer.echo()


def _print(view: "View", *, as_json: bool, indent: int | None) -> None:
    import shutil

    from .top_output import write_json, write_lines

    if as_json:
        typer.echo(write_json(view, indent=indent))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    for line in write_lines(view, width=width):
        typer.echo(line.text)


def _keep_showing(screen: "Screen", scraper: "Scraper", first: "Scrape", interval: float) -> None:
    from .top_output import Line, write_lines

    foot = Line(f"{scraper.url}   every {interval:g} s   q quits", "dim")
    views = _watch(scraper, first)
    with screen.use() as wait:
        screen.show([foot, Line(""), Line("Measuring …")])
        while not wait(interval):
            found, (width, height) = next(views), screen.size
            if isinstance(found, CommandError):
                screen.show([foot, Line(""), Line(str(found), "bold red")])
            else:
                screen.show([foot, *write_lines(found, width=width, height=height - 1)])
