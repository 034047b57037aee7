"""`nats-http keys`: makes, lists and revokes API keys in a file. docs/authentication.md is the reference."""

import time
from pathlib import Path
from typing import Annotated

import typer

from .arguments import ClaimOption, ScopeOption, parse_claims, parse_scopes
from .endings import CommandError

keys = typer.Typer(name="keys", help="Make, list and revoke API keys. A file has their digests.", no_args_is_help=True)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="The file of keys (the one that the route file names, else keys.yaml).",
        show_default=False,
    ),
]
RoutesOption = Annotated[
    Path | None,
    typer.Option("--routes", help="The route file that names the file of keys (GATEWAY_ROUTES).", show_default=False),
]
Name = Annotated[str, typer.Argument(help="The name of the key's holder.")]


@keys.command()
def add(
    name: Name,
    scope: ScopeOption = None,
    claim: ClaimOption = None,
    expires: Annotated[
        str | None, typer.Option(help="When it expires: 2027-01-31, or 2027-01-31T12:00:00Z.", show_default=False)
    ] = None,
    file: FileOption = None,
    routes: RoutesOption = None,
) -> None:
    """Make a key of 256 random bits, print it once, and write its digest to the file.

    A running gateway accepts the key after the next SIGHUP.
    """
    from ..edge.api_keys import digest_key, make_key
    from .key_file import change_key_file

    key = make_key()
    scopes, claims = parse_scopes(scope or []), parse_claims(claim or [])
    if expires is not None:
        _check_expiry(expires)
    with change_key_file(_choose_file(file, routes), may_be_new=True) as opened:
        opened.add(name, digest_key(key.encode("ascii")), scopes=scopes, claims=claims, expires=expires)
    typer.echo(key)
    typer.echo(f"nats-http: {opened.path} has the digest of {name}'s key. The key is shown only now.", err=True)


@keys.command("list")
def list_(file: FileOption = None, routes: RoutesOption = None) -> None:
    """Print a table of the keys: names, scopes, claims and when they expire. A file never has the keys themselves."""
    from .key_file import KeyFile

    rows = [("NAME", "SCOPES", "CLAIMS", "EXPIRES"), *KeyFile.read(_choose_file(file, routes)).list_rows(time.time())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
def revoke(name: Name, file: FileOption = None, routes: RoutesOption = None) -> None:
    """Remove a key from the file. A running gateway refuses the key after the next SIGHUP."""
    from .key_file import change_key_file

    with change_key_file(_choose_file(file, routes)) as opened:
        opened.revoke(name)
    typer.echo(f"nats-http: the key of {name} is no longer in {opened.path}", err=True)


def _check_expiry(text: str) -> None:
    from ..routefile.keys import has_expired, parse_expiry

    try:
        parse_expiry(text)
    except ValueError as error:
        raise CommandError(f"--expires '{text}': {error}") from None
    if has_expired(text, time.time()):
        raise CommandError(
            f"--expires '{text}': this is in the past, so nobody could use the key; a date means 00:00 UTC of that day"
        )


def _choose_file(file: Path | None, routes: Path | None) -> Path:
    """The file of keys on the command line, else that of the given route file, else that of the route file of the
    settings."""
    from ..settings import load_settings
    from .key_file import find_key_files

    if file and routes:
        raise CommandError("--file and --routes both name the file of keys: give one")
    if file is not None:
        return file
    routes = routes or load_settings().routes
    found = find_key_files(routes) if routes else []
    if len(found) > 1:
        raise CommandError(f"{routes} names several files of keys: choose one with --file")
    return found[0] if found else Path("keys.yaml")
