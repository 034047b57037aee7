"""Chooses the ids of requests."""

import itertools
import secrets
from collections.abc import Sequence

from ..formats.fields import Pair, is_clean_request_id


class RequestIds:
    """The id of a request is that of the caller if it sent a valid one, else a new one that no other process has."""

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(6)}-"
        self._counter = itertools.count(1)

    def choose(self, fields: Sequence[Pair]) -> str:
        """The id of a request with these header fields."""
        if fields:
            for name, value in fields:
                if name == b"x-request-id" and is_clean_request_id(value):
                    return value.decode("ascii")
        return f"{self._prefix}{next(self._counter)}"
