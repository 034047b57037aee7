"""Finds credentials in the cookies and in the query of a request. Pure.

Law: the work grows with the length of the request, and a value is compared, never evaluated.
"""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import unquote_to_bytes

from ..formats.fields import Pair

MAX_FOUND = 2
"""Values of one name that are looked at: a second one is wrong already."""


def find_credentials(
    place: Literal["query", "cookie"], name: bytes, query: bytes, fields: Sequence[Pair]
) -> list[bytes]:
    """The values of this cookie, or of this query parameter, decoded."""
    return _find_in_query(name, query) if place == "query" else find_cookies(name, fields)


def _find_in_query(name: bytes, query: bytes) -> list[bytes]:
    found: list[bytes] = []
    for pair in query.replace(b"+", b" ").split(b"&"):
        key, _, value = pair.partition(b"=")
        if (key == name or (b"%" in key and unquote_to_bytes(key) == name)) and len(found) < MAX_FOUND:
            found.append(unquote_to_bytes(value))
    return found


def find_cookies(name: bytes, fields: Sequence[Pair]) -> list[bytes]:
    """The values of a cookie (RFC 6265 §4.2), without quotes."""
    found: list[bytes] = []
    for field, value in fields:
        for pair in value.split(b";") if field == b"cookie" else ():
            key, equals, text = pair.partition(b"=")
            if equals and key.strip() == name and len(found) < MAX_FOUND:
                found.append(text.strip().strip(b'"'))
    return found
