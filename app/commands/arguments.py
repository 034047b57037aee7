"""What several commands take, and how they fail."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import CannotStart

File = Annotated[
    Path | None,
    typer.Argument(help="The route file (GATEWAY_ROUTES, else the packaged one with greet).", show_default=False),
]
"""A route file."""


class CommandError(CannotStart):
    """A command can't go on; the text is one clear line that says what to do."""


def parse_claim(text: str) -> tuple[str, str]:
    """A claim of a key or a token. Raises CommandError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(f"--claim '{text}': a claim is NAME=VALUE")
    return name, value


def choose_file(file: Path | None) -> Path:
    """The route file that the command line names, else that of the settings, else the packaged one with greet."""
    from ..routefile.load import GREET
    from ..settings import load_settings

    return file or load_settings().routes or GREET
