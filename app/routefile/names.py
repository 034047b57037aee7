"""Types for the names in `auth` of a route file: schemes, headers, cookies and scopes. Pure."""

import re
from typing import Annotated

from pydantic import AfterValidator

from ..edge.identity import check_scope
from ..formats.fields import can_travel, is_of_proxies, is_token
from ..routing.identity import check_source
from .strict import check_with

OPEN = "none"
"""The value of `auth` for a route that everybody may call."""

_TAKEN = frozenset(("cookie", "origin", "traceparent", "tracestate", "x-request-id", "x-request-timeout"))
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COOKIE_OR_QUERY = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def _check_header(text: str) -> None:
    if not is_token(text):
        raise ValueError("must be the name of a header")
    if text.lower() in _TAKEN or not can_travel(text) or is_of_proxies(text):
        raise ValueError("this header has another meaning: responses, logs or services would get the credential")


def _check_name(text: str) -> None:
    if not _COOKIE_OR_QUERY.fullmatch(text):
        raise ValueError("must be 1 to 64 of letters, digits, `.`, `_`, `~` and `-`")


def is_plain(name: str) -> bool:
    """Whether a name has 1 to 64 letters, digits, `.`, `_` and `-`, and nothing else."""
    return _PLAIN.fullmatch(name) is not None


def check_scheme_name(name: str) -> str:
    """Return the name, or raise ValueError, whose text says which names are allowed."""
    if not is_plain(name) or name == OPEN:
        raise ValueError("the name of a scheme is 1 to 64 of letters, digits, `.`, `_` and `-`, and not `none`")
    return name


SchemeName = Annotated[str, AfterValidator(check_scheme_name)]
HeaderName = Annotated[str, check_with(_check_header)]
PlainName = Annotated[str, check_with(_check_name)]
IdentitySource = Annotated[str, check_with(check_source)]
Scope = Annotated[str, check_with(check_scope)]
