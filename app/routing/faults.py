"""What can be wrong with a declaration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a declaration: the key that it is about, and a sentence."""

    key: tuple[str | int, ...]
    text: str
