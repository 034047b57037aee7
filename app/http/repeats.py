"""Reads a request head that is like the one before on its connection. Pure.

Two heads are alike if they have the same method, version and header names in the same order, and differ only in their
targets and in values that do not concern the connection. What else the parser would say about the second one it has
said about the first one (ADR 6).
"""

import re
from collections.abc import Sequence
from itertools import compress, count
from operator import ne

from ..formats.fields import Pair

MOST_REMEMBERED = 2048  # bytes of a head without its method and target

_VERSION = b" HTTP/1.1\r\n"
_LENGTH = b"content-length"
_OF_THE_CONNECTION = frozenset(
    (b"connection", b"expect", b"host", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""The fields that the parser or the protocol reads, besides Content-Length."""
_is_length = re.compile(rb"[0-9]{1,9}").fullmatch
_is_plain = re.compile(rb"[!-~]+(?: [!-~]+)*").fullmatch  # RFC 9110 §5.5 allows more, which is rare
_NO_FIELD: Pair = (b"", b"")
is_plain_target = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*").fullmatch
"""Whether a target has only characters of RFC 3986, and no fragment."""


def may_be_remembered(rest: bytes) -> bool:
    """Whether a later head may be compared with this one. `rest` is what it has behind its target."""
    return len(rest) <= MOST_REMEMBERED and rest.startswith(_VERSION)


def read_alike(before: bytes, now: bytes, fields: Sequence[Pair], length: int) -> tuple[list[Pair], int] | None:
    """The fields of a head and the length of its body; None if it is not like the one before, which had these `fields`
    and this `length`. `before` and `now` are what the two heads have behind their targets."""
    if len(now) > MOST_REMEMBERED:
        return None
    old, new = before.split(b"\r\n"), now.split(b"\r\n")
    if not len(old) == len(new) == len(fields) + 3:  # the version and two empty lines; else a field has several lines
        return None
    read = [_NO_FIELD, *fields]  # by the number of the line
    for number in compress(count(), map(ne, old, new)):
        spelled, _, value = new[number].partition(b": ")
        name = read[number][0]
        if spelled.lower() != name or name in _OF_THE_CONNECTION or not _is_plain(value):
            return None
        if name == _LENGTH:
            if not _is_length(value):
                return None
            length = int(value)
        read[number] = (name, value)
    return read[1:], length
