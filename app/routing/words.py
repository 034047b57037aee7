"""The name, the methods, the subject and the payload of a route. Pure."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from ..edge.request import BODY_METHODS
from ..formats.subjects import SubjectTemplate

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Payload = Literal["none", "body", "params", "merge"]
WITH_BODY: frozenset[object] = frozenset(("body", "merge"))
"""The payloads that contain the request body, or something made of it."""
WITH_PARAMETERS: frozenset[object] = frozenset(("params", "merge"))
"""The payloads that contain the parameters."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LAST = 16  # parsed templates: a route needs its own a few times


def check_name(name: str) -> str:
    """The name. Raises ValueError if no route can have it."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 of letters, digits, _ and -")
    return name


@lru_cache(_LAST)
def parse_subject(subject: str) -> SubjectTemplate:
    """The template of a subject. Raises ValueError, whose text says what is wrong with it."""
    return SubjectTemplate.parse(subject)


def choose_payload(payload: Payload | None, method: str) -> Payload:
    """The payload of a request with this method."""
    return payload or ("body" if method in BODY_METHODS else "none")


def sends_body(payload: object, methods: Iterable[object]) -> bool:
    """Whether a route with this `payload` and these methods ever sends the request body."""
    return payload in WITH_BODY or (payload is None and not BODY_METHODS.isdisjoint(map(str, methods)))
