"""Finds the credential of a request: in a header, in the query, or in a cookie. Pure.

Law: the work grows with the length of the request, and a value is compared, never evaluated.
"""

from typing import Literal
from urllib.parse import unquote_to_bytes

from .request import Request

Place = Literal["header", "query", "cookie"]


class SeveralCredentials(Exception):
    """Nobody guesses which of them is meant."""


def find_credential(place: Place, name: bytes, request: Request) -> bytes | None:
    """The value of this header (its name in lower case), query parameter (decoded) or cookie (without quotes); None if
    the request has none. Raises SeveralCredentials."""
    found: bytes | None = None
    if place == "header":
        for field, value in request.headers:
            if field == name:
                if found is not None:
                    raise SeveralCredentials
                found = value
        # RFC 9110 §5.5: blanks at the end are no part of a value; our parser leaves them there.
        return found if found is None else found.rstrip(b" \t")
    values = _find_in_query(name, request.query) if place == "query" else _find_cookies(name, request)
    if len(values) > 1:
        raise SeveralCredentials
    return values[0] if values else None


def _find_in_query(name: bytes, query: bytes) -> list[bytes]:
    pairs = (pair.partition(b"=") for pair in query.replace(b"+", b" ").split(b"&"))
    return [
        unquote_to_bytes(value)
        for key, _, value in pairs
        if key == name or (b"%" in key and unquote_to_bytes(key) == name)
    ]


def _find_cookies(name: bytes, request: Request) -> list[bytes]:
    """RFC 6265 §4.2."""
    pairs = (
        pair.partition(b"=") for field, value in request.headers if field == b"cookie" for pair in value.split(b";")
    )
    return [text.strip().strip(b'"') for key, equals, text in pairs if equals and key.strip() == name]
