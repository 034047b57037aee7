"""`nats-http token`: a token for development, which only `nats-http dev` accepts."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import ClaimOption, ScopeOption, choose_file, parse_claims, parse_scopes
from .endings import CommandError


def token(
    sub: Annotated[str, typer.Option(help="Whose token it is: the claim `sub`.")],
    scope: ScopeOption = None,
    claim: ClaimOption = None,
    lasts: Annotated[str, typer.Option(help="How long the token is valid, such as 30s or 10m.")] = "60m",
    scheme: Annotated[
        str | None, typer.Option(help="The scheme, if the route file has several.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--routes", help="The route file (GATEWAY_ROUTES).", show_default=False)
    ] = None,
) -> None:
    """Print a token for development, signed with a key that `nats-http dev` makes. Only `nats-http dev` accepts it.

    The token has the issuer and the audience of a scheme of the route file.
    """
    from ..formats.units import parse_duration
    from ..routefile.load import load_route_file
    from .development import choose_scheme, find_path, sign

    try:
        lifetime = parse_duration(lasts)
    except ValueError as error:
        raise CommandError(f"--lasts '{lasts}': {error}") from None
    path = choose_file(file)
    model = choose_scheme(path, load_route_file(path).sources, scheme)
    scopes, claims = parse_scopes(scope or []), parse_claims(claim or [])
    typer.echo(sign(model, subject=sub, scopes=scopes, claims=claims, lifetime=lifetime, path=find_path()))
