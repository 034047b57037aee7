"""Finds the credential of a request: in a header, in the query, or in a cookie. Pure.

Law: the work grows with the length of the request, by no more than a few hundredths of a microsecond a byte. A value is
compared, never evaluated.
"""

import re
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote_to_bytes

from .request import Request

Place = Literal["header", "query", "cookie"]

_REMEMBERED = 64  # patterns, one for each cookie or parameter that a scheme looks at
_LONGEST = 4096  # bytes of a value in the query


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
    is_cookie = place == "cookie"
    text = _join_cookies(request) if is_cookie else b"&" + request.query
    pattern = _compile_cookie(name) if is_cookie else _compile_parameter(name, is_encoded=b"%" in text)
    match = pattern.search(text)
    if match is None:
        return None
    if pattern.search(text, match.end()):
        raise SeveralCredentials
    value = match[1] or b""
    return value.strip().strip(b'"') if is_cookie else _decode(value)


def _join_cookies(request: Request) -> bytes:
    return b";".join([b"", *[value for field, value in request.headers if field == b"cookie"]])


@lru_cache(_REMEMBERED)
def _compile_cookie(name: bytes) -> re.Pattern[bytes]:
    """RFC 6265 §4.2."""
    return re.compile(rb";\s*+%b\s*+=([^;]*+)" % re.escape(name))


@lru_cache(_REMEMBERED)
def _compile_parameter(name: bytes, *, is_encoded: bool) -> re.Pattern[bytes]:
    """URL standard §5.1. In a query with percent-encoded bytes each byte of the name may be one."""
    spelt = [rb"(?:%b|(?i:%%%02x))" % (re.escape(bytes((byte,))), byte) for byte in name]
    return re.compile(rb"&%b(?:=([^&]*+))?(?=&|\Z)" % (b"".join(spelt) if is_encoded else re.escape(name)))


def _decode(value: bytes) -> bytes:
    """Of one that is too long for any key, the beginning: that is too long as well."""
    return unquote_to_bytes(value[:_LONGEST].replace(b"+", b" "))
