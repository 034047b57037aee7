"""Which word may be meant by one that is not known. Pure."""

import difflib
from collections.abc import Iterable, Mapping


def find_close(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """The known word that is nearest, if one is near; case does not count. `others` are words from elsewhere, and what
    they are called here."""
    folded = {name.lower(): name for name in known}
    if others and (other := others.get(word)) in folded.values():
        return other
    close = [folded[name] for name in difflib.get_close_matches(word.lower(), folded, n=1)]
    return next((name for name in close if name != word), None)


def suggest(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The end of a sentence that asks whether the nearest word was meant; empty where none is near."""
    close = find_close(word, known, others)
    return f", did you mean `{close}`?" if close else ""
