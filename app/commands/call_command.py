"""`nats-http call`: sends one request to a service, by a route or straight to a subject."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import DataOption, HeaderOption, choose_file, parse_header, read_data
from .live import load_routes

if TYPE_CHECKING:
    from ..formats.fields import Pair
    from ..settings import Settings
    from .call import Answer

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""The first words that mean a request by a route."""


def call(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD TARGET | SUBJECT [TOKEN…]",
            help="A method and a target, as of `explain`: GET '/orders/7?x=1'. Or a subject, and tokens that are "
            "added to it: orders.get 7 is orders.get.7.",
        ),
    ],
    header: HeaderOption = None,
    data: DataOption = None,
    file: Annotated[
        Path | None, typer.Option("--routes", help="The route file (GATEWAY_ROUTES).", show_default=False)
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(
            "--nats", help="For a subject: the NATS cluster or account, a name of GATEWAY_NATS.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
) -> None:
    """Send one request to a service, and show what was sent and what came back.

    No gateway needs to run. The command connects to NATS itself, with the settings
    of the gateway, such as NATS_URL, the credentials and GATEWAY_TIMEOUT.

    With a method and a target it finds the route, and does what the gateway does:
    it checks parameters and body, and makes the response from the reply.
    It does not apply auth, signatures, rate limits, allow_from and CORS;
    `nats-http explain` shows what they say to a request.
    If the route file has no such route, but has `discover`, it asks these services for theirs.

    With a subject it needs no route file. It sends headers and payload as they are,
    and shows the first reply.

    The exit code is 0 for an answer below 400, and 1 for an error.
    """
    from ..observe.log import configure_logging
    from ..settings import is_color_wanted, load_settings
    from .call_output import write_answer, write_json

    pairs = [parse_header(text) for text in header or []]
    body = None if data is None else read_data(data)
    settings = load_settings(check_files=True)
    configure_logging(color=is_color_wanted(sys.stderr), form="text", level="error")
    answer = _call(settings, words, pairs, body, file, nats)
    typer.echo(write_json(answer) if as_json else write_answer(answer, color=is_color_wanted(sys.stdout)))
    if answer.is_error:
        raise typer.Exit(1)


def _call(
    settings: "Settings",
    words: list[str],
    headers: "list[Pair]",
    body: bytes | None,
    file: Path | None,
    nats: str | None,
) -> "Answer":
    from ..formats.clusters import MAIN
    from ..routefile.load import load_route_file
    from .call import call_route, call_subject

    if words[0].upper() not in METHODS:
        if file is not None:
            raise typer.BadParameter("--routes is for a request with a method and a target")
        return call_subject(settings, ".".join(words), headers=headers, payload=body or b"", nats=nats or MAIN)
    if nats is not None:
        raise typer.BadParameter("--nats is for a subject: a route says itself to which NATS cluster it goes")
    if len(words) != 2:
        raise typer.BadParameter(f"after {words[0]} there is one word, the target: '/orders/7?x=1'")
    method, target = words[0].upper(), words[1]
    path = choose_file(file)
    loaded = load_route_file(path)
    if loaded.discover and not loaded.table.match(method, target.partition("?")[0].encode("utf-8", "surrogateescape")):
        loaded = load_routes(path, live=True)
    return call_route(settings, loaded.table, method, target, headers=headers, body=body)
