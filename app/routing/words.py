"""What a route says in a word: its name, its methods, its subject, and what it sends. Pure."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from ..edge.request import BODY_METHODS
from ..formats.subjects import SubjectTemplate

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Payload = Literal["none", "body", "params", "merge"]
WITH_BODY: frozenset[object] = frozenset(("body", "merge"))
"""What sends the request body, or something made of it."""
WITH_PARAMETERS: frozenset[object] = frozenset(("params", "merge"))
"""What has the parameters in it."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LAST = 16  # templates that have been parsed: a route asks for its own a few times


def check_name(name: str) -> str:
    """The name; ValueError if no route can be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 of letters, digits, _ and -")
    return name


@lru_cache(_LAST)
def parse_subject(subject: str) -> SubjectTemplate:
    """The template of a subject; ValueError says what is wrong with it."""
    return SubjectTemplate.parse(subject)


def choose_payload(payload: Payload | None, method: str) -> Payload:
    """What a request with this method sends."""
    return payload or ("body" if method in BODY_METHODS else "none")


def sends_body(payload: object, methods: Iterable[object]) -> bool:
    """Whether a route with this `payload` and these methods ever sends the request body."""
    return payload in WITH_BODY or (payload is None and not BODY_METHODS.isdisjoint(map(str, methods)))
