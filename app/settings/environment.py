"""Single variables of the environment."""

import os
from pathlib import Path
from typing import TextIO

from .fields import VARIABLES


def read_variables() -> dict[str, str]:
    """What the environment says, right or wrong, by the names of settings."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def find_variable(name: str) -> str | None:
    """The value of a variable that a route file names."""
    return os.environ.get(name)


def is_nats_url_set() -> bool:
    """Whether the environment names a NATS server, so that `dev` starts none."""
    return bool(os.environ.get("NATS_URL"))


def is_color_wanted(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not said otherwise (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def find_state_folder() -> Path:
    """Where this user's files are that stay (XDG Base Directory Specification)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".local" / "state") / "nats-http"


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process."""
    return {**os.environ, **changes}
