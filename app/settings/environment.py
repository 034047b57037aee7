"""Reads single variables of the environment."""

import os
from pathlib import Path
from typing import TextIO

from .fields import VARIABLES


def read_variables() -> dict[str, str]:
    """The values of all settings that the environment sets, valid or not, by their names."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def find_variable(name: str) -> str | None:
    """The value of a variable that a route file names."""
    return os.environ.get(name)


def take_variables(*names: str) -> dict[str, str]:
    """The values of these variables, without those that are empty or not set. They are removed from the environment, so
    that no child process inherits them."""
    return {name: value for name in names if (value := os.environ.pop(name, ""))}


def is_nats_url_set() -> bool:
    """Whether the environment names a NATS server, so that `dev` starts none."""
    return bool(os.environ.get("NATS_URL"))


def is_color_wanted(stream: TextIO) -> bool:
    """Whether to use colours: the stream must be a terminal, and NO_COLOR must not be set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def find_state_folder() -> Path:
    """The folder for files of this user that the gateway keeps (XDG Base Directory Specification)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".local" / "state") / "nats-http"


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process, with these changes."""
    return {**os.environ, **changes}
