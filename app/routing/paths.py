"""Path templates: literal segments, parameters such as `{id}`, and a tail such as `{path...}` at the end. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache

from ..formats.subjects import PLACEHOLDER, TAIL

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")  # RFC 3986 §3.3, without percent-encoding
_LAST = 16  # templates that have been parsed: a route needs each of its own a few times
# The spellings of a parameter, and of a tail, in other routers.
_FOREIGN = re.compile(r":(?P<name>\w+)|<(?:\w+:)?(?P<flask>\w+)>|\{(?P<typed>\w+):.*\}")
_FOREIGN_TAIL = re.compile(r"\*\*?(?P<name>\w*)|\{(?P<star>\w+)\*\}|\{\*(?P<before>\w+)\}|\{(?P<typed>\w+):path\}")


@lru_cache(_LAST)
def parse_path(path: str) -> tuple[str, ...]:
    """The segments of a path template. Raises ValueError with the wrong segment and the reason."""
    root, *segments = path.split("/")
    if root or not segments:
        raise ValueError(f"path '{path}' must begin with '/'")
    if segments == [""]:
        raise ValueError("path '/': `/` alone is the gateway's own, and shows its documentation")
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if fault := _find_fault(segment, is_first=index == 0, is_last=is_last):
            raise ValueError(f"path '{path}': {fault}")
    return tuple(segments)


def parse_prefix(prefix: str) -> tuple[str, ...]:
    """The segments of a prefix of paths. Raises ValueError with the reason if it can't be one."""
    segments = parse_path(prefix)
    if has_tail(segments):
        raise ValueError(f"prefix '{prefix}' can't end with a tail")
    return segments


def find_parameter(segment: str) -> str | None:
    """The name of the parameter or the tail that this segment is. None for a literal."""
    match = PLACEHOLDER.fullmatch(segment) or TAIL.fullmatch(segment)
    return match[1] if match else None


def list_parameters(segments: Sequence[str]) -> tuple[str, ...]:
    """The names of all parameters in these segments, with the tail."""
    return tuple(name for segment in segments if (name := find_parameter(segment)))


def has_tail(segments: Sequence[str]) -> bool:
    """Whether the last segment is a tail."""
    return TAIL.fullmatch(segments[-1]) is not None


def _find_fault(segment: str, *, is_first: bool, is_last: bool) -> str | None:
    if hint := _translate(segment):
        return f"'{segment}' is the spelling of other routers; write {hint}"
    if TAIL.fullmatch(segment) and not is_last:
        return f"the tail '{segment}' must be the last segment"
    if is_first and find_parameter(segment):
        return f"its first segment must be a literal; '{segment}' would take the paths of all other routes"
    if segment in (".", ".."):
        return f"'{segment}' can't be a segment: clients and proxies resolve it (RFC 3986 §5.2.4)"
    if _LITERAL.fullmatch(segment) or find_parameter(segment):
        return None
    return _explain(segment, is_last=is_last)


def _translate(segment: str) -> str | None:
    """Our spelling of a parameter or a tail that is written as in another router."""
    for pattern, end in ((_FOREIGN_TAIL, "..."), (_FOREIGN, "")):
        if match := pattern.fullmatch(segment):
            name = next((name for name in match.groups() if name), "path")
            return f"{{{name}{end}}}"
    return None


def _explain(segment: str, *, is_last: bool) -> str:
    """Why a segment is neither a literal nor a parameter."""
    if not segment:
        return f"it {'ends with' if is_last else 'has'} an empty segment, which is another path; leave the '/' out"
    if "?" in segment or "#" in segment:
        return f"'{segment}' has a query or a fragment; declare parameters of the query in `params`"
    if any(character.isspace() for character in segment):
        return f"'{segment}' has a blank or a tab"
    if "{" in segment and "}" in segment:
        return f"'{segment}': a parameter is a whole segment, such as {{id}}, named with letters, digits, _ and -"
    return f"'{segment}' is neither a literal nor a parameter such as {{id}}"
