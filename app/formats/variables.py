"""Variables in texts, as in compose files: `${NAME}`, `${NAME:-default}`, and `$${NAME}` for the text itself. Pure."""

import re
from collections.abc import Callable

Look = Callable[[str], str | None]
"""The value of a variable by its name; None, or an empty text, where it is not set."""

_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?(\}?)")


def has_variables(text: str) -> bool:
    return "${" in text and _VARIABLE.search(text) is not None


def substitute(text: str, look: Look) -> str:
    """The text with the values of its variables; those are not searched for others. ValueError says which is not set,
    or is written wrongly."""

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        if not match[5]:
            raise ValueError(f"'{match[0]}' is not closed: write ${{{match[2]}}}, or ${{{match[2]}:-default}}")
        value = look(match[2]) or match[4]
        if value is None:
            raise ValueError(f"the variable {match[2]} is not set; ${{{match[2]}:-default}} gives it a default")
        return value

    return _VARIABLE.sub(replace, text)
