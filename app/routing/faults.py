"""A fault of a declaration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a declaration: the key that is wrong, and a sentence."""

    key: tuple[str | int, ...]
    text: str
