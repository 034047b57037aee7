"""How the text of a parameter becomes a token of a subject. Pure.

Law: two different texts never become the same token, and nothing is repaired.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import quote

from ..errors import InvalidParameter, UriTooLong
from ..formats.subjects import MAX_TOKEN, check_token

Token = Literal["escaped", "base64url"]
TokenWriter = Callable[[str, str], str]
"""Makes a token, or several, of a text. The second argument is the label of the parameter. Raises InvalidParameter or
UriTooLong, whose texts begin with the label."""

MAX_TAIL = 16  # tokens


def write_plain(text: str, label: str) -> str:
    """The text itself, which must be one token."""
    check_token(text, label=label)
    return text


def write_tail(text: str, label: str) -> str:
    """One token for each segment of a tail."""
    segments = text.split("/", MAX_TAIL)
    if len(segments) > MAX_TAIL:
        raise UriTooLong(f"{label} has more than {MAX_TAIL} segments.")
    for segment in segments:
        check_token(segment, label=label)
    return ".".join(segments)


def write_escaped(text: str, label: str) -> str:
    """Percent-encodes every byte of the text in UTF-8, except `A-Za-z0-9_~-`."""
    return _check_length(quote(text[: MAX_TOKEN + 1], safe="").replace(".", "%2E"), label)


def write_base64url(text: str, label: str) -> str:
    """The text in UTF-8 as base64url without padding (RFC 4648 §5)."""
    return _check_length(urlsafe_b64encode(text[: MAX_TOKEN + 1].encode()).rstrip(b"=").decode("ascii"), label)


def _check_length(token: str, label: str) -> str:
    if not token:
        raise InvalidParameter(f"{label} is empty.")
    if len(token) > MAX_TOKEN:
        raise UriTooLong(f"{label} makes a subject token of more than {MAX_TOKEN} characters.")
    return token


WRITERS: Mapping[Token | None, TokenWriter] = {
    None: write_plain,
    "escaped": write_escaped,
    "base64url": write_base64url,
}
"""The writers, by the `token` of a parameter."""


def check_tail(text: str, label: str) -> None:
    """Raises InvalidParameter if the text can't be a tail: a proxy or a file system could resolve it to another
    path."""
    if any(segment in ("", ".", "..") for segment in text.split("/")):
        raise InvalidParameter(f"{label} has a segment that is empty, '.' or '..'.")
