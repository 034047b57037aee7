"""Reads a request head that is like an earlier one on its connection. Pure.

Two heads are alike if they have the same method, version and header names in the same order, and differ only in their
targets and in values that do not concern the connection. What else the parser would say about the second one it has
said about the first one (ADR 6).
"""

import re
from collections.abc import Sequence

from ..formats.fields import Pair, RepeatedFields

MOST_REMEMBERED = 2048  # bytes of a head without its method and target

_VERSION = b" HTTP/1.1"
_LENGTH = b"content-length"
_OF_THE_CONNECTION = frozenset(
    (b"connection", b"expect", b"host", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""The fields that the parser or the protocol reads, besides Content-Length."""
_is_length = re.compile(rb"[0-9]{1,9}").fullmatch
_is_plain = re.compile(rb"[!-~]+(?: [!-~]+)*").fullmatch  # RFC 9110 §5.5 allows more, which is rare
is_plain_target = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*").fullmatch
"""Whether a target has only characters of RFC 3986, and no fragment."""


def may_be_known(rest: bytes) -> bool:
    """Whether a later head may be compared with this one. `rest` is what it has behind its target."""
    return len(rest) <= MOST_REMEMBERED and rest.startswith(_VERSION + b"\r\n")


class KnownHead:
    """What the heads of a connection have in common. `start` is the method with a space. `rest` is what the first of
    them has behind its target, where the parser found `fields`, and the `length` of its body.

    It learns which values differ from one head to the next. The other bytes are compared as a whole."""

    __slots__ = ("_parts", "_varying", "end", "fields", "length", "start", "varies")

    def __init__(self, start: bytes, rest: bytes, fields: Sequence[Pair], length: int) -> None:
        self.start = start
        self.end = rest
        """The bytes that all heads have at their end."""
        self.fields = RepeatedFields(fields)
        """The fields of the head with which it has learned last."""
        self.length = length
        """The bytes of the body of the latest request."""
        self.varies = False
        """Whether the heads differ not only in their targets."""
        self._varying: frozenset[int] = frozenset()
        self._parts: list[tuple[bytes, bytes, int]] = []
        """For each field that varies: the bytes before its value, its name and its number."""

    def read(self, rest: bytes) -> list[Pair] | None:
        """The fields of a head that is alike, else None. `rest` is what it has behind its target. Sets `length`."""
        if self.varies and (fields := self._read_parts(rest)):
            return fields
        return self._learn(rest) if len(rest) <= MOST_REMEMBERED else None

    def _read_parts(self, rest: bytes) -> list[Pair] | None:
        fields, length, stop = self.fields.copy(), self.length, 0
        for before, name, number in self._parts:
            if not rest.startswith(before, stop):
                return None
            start = stop + len(before)
            stop = rest.find(b"\r\n", start)
            value = rest[start:stop]
            if not _is_plain(value):
                return None
            if name == _LENGTH:
                if not _is_length(value):
                    return None
                length = int(value)
            fields[number] = (name, value)
        if rest[stop:] != self.end:
            return None
        self.length = length
        return fields

    def _learn(self, rest: bytes) -> list[Pair] | None:
        """Compare line by line, and note which values are new."""
        version, *lines = rest.split(b"\r\n")
        if version != _VERSION or len(lines) != len(self.fields) + 2:  # two empty ones; else a field has several lines
            return None
        fields, varying, length = RepeatedFields(self.fields), set(self._varying), self.length
        for number, (name, known) in enumerate(self.fields):
            spelled, _, value = lines[number].partition(b": ")
            if spelled.lower() != name:
                return None
            if value == known:
                continue
            if name in _OF_THE_CONNECTION or not _is_plain(value):
                return None
            if name == _LENGTH:
                if not _is_length(value):
                    return None
                length = int(value)
            varying.add(number)
            fields[number] = (name, value)
        self.fields, self.length = fields, length
        self._varying, self.varies = frozenset(varying), bool(varying)
        self._divide(lines)
        return fields

    def _divide(self, lines: Sequence[bytes]) -> None:
        """Divide a head at the values that vary."""
        self._parts, same = [], _VERSION
        for number, line in enumerate(lines):
            if number in self._varying:
                name = self.fields[number][0]
                self._parts.append((same + b"\r\n" + line[: len(name) + 2], name, number))
                same = b""
            else:
                same += b"\r\n" + line
        self.end = same
