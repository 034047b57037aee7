"""Finds the known word that an unknown word was probably meant to be. Pure."""

import re
from collections.abc import Iterable, Mapping

SERVICE_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""The name of a service (ADR-32)."""


def find_close(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """The most similar known word, or None if no word is similar. Case does not matter. `others` maps words of other
    programs to ours."""
    import difflib  # nearly no process needs it

    folded = {name.lower(): name for name in known}
    if others and (other := others.get(word)) in folded.values():
        return other
    close = [folded[name] for name in difflib.get_close_matches(word.lower(), folded, n=1)]
    return next((name for name in close if name != word), None)


def suggest(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The end of a sentence: whether the most similar word was meant. Empty if no word is similar."""
    close = find_close(word, known, others)
    return f", did you mean `{close}`?" if close else ""
