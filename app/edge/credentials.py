"""Finds the credential of a request: in a header, in the query, or in a cookie. Pure.

Law: the work grows linearly with the length of the request, by at most a few hundredths of a microsecond for each byte.
A value is compared, never evaluated.
"""

import re
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote_to_bytes

from .request import Request

Place = Literal["header", "query", "cookie"]

_REMEMBERED = 64  # patterns, one for each cookie or parameter that a scheme looks at
_LONGEST = 4096  # bytes of a value in the query that are decoded


class SeveralCredentials(Exception):
    """The request has the credential more than once. The gateway does not guess which one is meant."""


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
        # RFC 9110 §5.5: blanks at the end do not belong to a value. Our parser does not remove them.
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
    """A pattern for a cookie in `; a=1; b=2` (RFC 6265 §4.2). Group 1 is the value."""
    return re.compile(rb";\s*+%b\s*+=([^;]*+)" % re.escape(name))


@lru_cache(_REMEMBERED)
def _compile_parameter(name: bytes, *, is_encoded: bool) -> re.Pattern[bytes]:
    """A pattern for a parameter in `&a=1&b=2` (URL standard §5.1). Group 1 is the value. With `is_encoded` each byte of
    the name may be percent-encoded."""
    spelt = [rb"(?:%b|(?i:%%%02x))" % (re.escape(bytes((byte,))), byte) for byte in name]
    return re.compile(rb"&%b(?:=([^&]*+))?(?=&|\Z)" % (b"".join(spelt) if is_encoded else re.escape(name)))


def _decode(value: bytes) -> bytes:
    """The decoded value. Only its first 4,096 bytes are decoded: a longer value is too long for any key anyway."""
    return unquote_to_bytes(value[:_LONGEST].replace(b"+", b" "))
