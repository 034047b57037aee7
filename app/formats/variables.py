"""Variables in texts, as in compose files: `${NAME}`, `${NAME:-default}`, and `$${NAME}` for a literal `${NAME}`.
Pure."""

import re
from collections.abc import Callable

Look = Callable[[str], str | None]
"""Returns the value of a variable. None, or an empty text, if it is not set."""

_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?(\}?)")


def has_variables(text: str) -> bool:
    """Whether the text has a variable, or a literal `$${NAME}`."""
    return "${" in text and _VARIABLE.search(text) is not None


def substitute(text: str, look: Look) -> str:
    """The text with the values of its variables. Variables in these values are not replaced. Raises ValueError, whose
    text names a variable that is not set or is written wrongly."""

    def replace(match: re.Match[str]) -> str:
        """The text of one variable."""
        if match[1]:
            return match[0][1:]
        if not match[5]:
            raise ValueError(f"'{match[0]}' is not closed: write ${{{match[2]}}}, or ${{{match[2]}:-default}}")
        value = look(match[2]) or match[4]
        if value is None:
            raise ValueError(f"the variable {match[2]} is not set; ${{{match[2]}:-default}} gives it a default")
        return value

    return _VARIABLE.sub(replace, text)
