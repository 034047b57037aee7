"""Arguments that several commands have, and the error that ends a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .endings import CommandError

if TYPE_CHECKING:
    from ..formats.schemas import Json
    from ..settings import Settings

File = Annotated[
    Path | None,
    typer.Argument(help="The route file (GATEWAY_ROUTES, else the packaged file with greet).", show_default=False),
]
"""The argument for a route file."""

ScopeOption = Annotated[list[str] | None, typer.Option(help="A scope that the holder has; may be repeated.")]
"""The option for the scopes of a key or a token. `parse_scopes` reads it."""

ClaimOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Another fact about the holder, NAME=VALUE; may be repeated. A value that is JSON, such as 5 or true, "
        "keeps its type."
    ),
]
"""The option for the claims of a key or a token. `parse_claims` reads it."""

HeaderOption = Annotated[
    list[str] | None, typer.Option("-H", "--header", help="A request header, 'name: value'; may be repeated.")
]
"""The option for headers of a request. `parse_header` reads each."""

DataOption = Annotated[str | None, typer.Option("-d", "--data", help="The request body; @FILE reads it from a file.")]
"""The option for the body of a request. `read_data` reads it."""


def parse_scopes(texts: Sequence[str]) -> list[str]:
    """The scopes of a key or a token. Raises CommandError. RFC 6749 allows a comma in a scope, but a person who types
    one means several scopes."""
    from ..edge.identity import check_scope

    for text in texts:
        found = text.replace(",", " ").split()
        if found and found != [text]:
            words = " ".join(f"--scope {scope}" for scope in found)
            raise CommandError(f"--scope '{text}': give each scope by itself: {words}")
        try:
            check_scope(text.replace(",", ""))
        except ValueError as error:
            raise CommandError(f"--scope '{text}': {error}") from None
    return list(texts)


def parse_claims(texts: Sequence[str]) -> "dict[str, Json]":
    """The claims of a key or a token. A value that is JSON keeps its type; any other is a text. Raises CommandError."""
    claims: dict[str, Json] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"--claim '{text}': a claim is NAME=VALUE")
        if name in claims:
            hint = f"for several values write {name}='[1, 2]'"
            raise CommandError(f"--claim '{text}': the claim {name} is given twice; {hint}")
        claims[name] = _read_value(value)
    return claims


def _read_value(text: str) -> "Json":
    from ..formats.schemas import parse_json

    try:
        return parse_json(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        return text


def read_data(text: str) -> bytes:
    """The bytes of a body, or of the file that `@FILE` names. Raises CommandError."""
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"{text[1:]}: {(error.strerror or str(error)).lower()}") from None


def parse_header(text: str) -> tuple[bytes, bytes]:
    """The name as it was typed, and the value. Raises CommandError."""
    from ..formats.fields import is_token

    name, colon, value = text.partition(":")
    if not colon or not is_token(name):
        raise CommandError(f"-H '{text}': a header is 'name: value'")
    return name.encode("ascii"), value.strip().encode("utf-8", "surrogateescape")


def choose_file(file: Path | None) -> Path:
    """The route file of the command line, else that of the settings, else the packaged one for GATEWAY_DISCOVER, else
    the packaged one with greet. The last choice is reported on stderr, since it is seldom the intended one."""
    from ..routefile.load import DISCOVERED, GREET
    from ..settings import load_settings

    settings = load_settings()
    if chosen := file or settings.routes or (DISCOVERED if settings.discover else None):
        return chosen
    typer.echo(f"nats-http: neither the command line nor GATEWAY_ROUTES names a route file: using {GREET}", err=True)
    return GREET


def check_one_file(file: Path | None, settings: "Settings") -> None:
    """Raises CommandError if the command line and the settings name two sources of routes."""
    if settings.discover and (chosen := file or settings.routes):
        raise CommandError(
            f"GATEWAY_DISCOVER is for a gateway without a route file, and there is {chosen}: write `discover: "
            f"{settings.discover}` into the file"
        )
    if file and settings.routes and file.resolve() != settings.routes.resolve():
        raise CommandError(f"{file}: GATEWAY_ROUTES names another route file, {settings.routes}: give one of the two")
