"""What a target is, and where it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

GREETING = b'{"message":"hello, sue"}'
UNWRAPPED = b"hello, sue"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target runs. `extra_routes` stand in its table beside those that are measured; `collector` takes
    traces."""

    folder: Path
    nats_url: str
    port: int
    extra_routes: int
    workers: int
    collector: str


Build: TypeAlias = Callable[[Place], tuple[list[str], dict[str, str]]]
"""Makes the command of a target, and what it adds to the environment."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """`missing` says why it can't run here. So does `prepare`, which first makes what the command needs. `greeting` is
    its answer to a request for /greet/sue."""

    name: str
    build: Build
    missing: str | None = None
    prepare: Callable[[], str | None] = _nothing
    greeting: bytes = GREETING
