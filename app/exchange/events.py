"""Writes messages as server-sent events (the HTML standard, §9.2) or as NDJSON, for streams without an end. Pure.

Laws:
1. A reader of the standard gets each message as one event, with the payload as its data; line breaks become LF.
2. No payload and no header can forge a line, an event, or what the gateway itself says.
3. A payload that is not text can't be an event, unless it is written in Base64.
"""

import base64
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic_core import from_json

from ..formats.accept import choose_type
from ..formats.messages import Reply, parse_block
from .responses import Fields, Response, encode_json

Form = Literal["text/event-stream", "application/x-ndjson"]
FORMS: tuple[Form, ...] = ("text/event-stream", "application/x-ndjson")
OWN = frozenset(("gap", "end"))
"""The types of events that only the gateway sends."""

RETRY, RETRY_JITTER = 2000, 500  # milliseconds until a browser connects again
_MAX_TYPE = 128  # bytes of the type of an event

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_TYPE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def choose_form(accept: bytes) -> Form:
    """The form that the caller prefers."""
    return choose_type(accept, FORMS)


class EventWriter:
    """Writes events in one form. `event_header` is the header of a message whose value is the type of its event. With
    `is_base64` each payload is written in Base64. Two writers with the same rules are equal: their callers share what
    they write."""

    def __init__(self, form: Form, event_header: str | None = None, *, is_base64: bool = False) -> None:
        self.form = form
        self._header = event_header.lower().encode("ascii") if event_header else None
        self._is_base64 = is_base64
        self._writes_events = form == "text/event-stream"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventWriter) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(self._rules)

    @property
    def _rules(self) -> tuple[object, ...]:
        return self.form, self._header, self._is_base64

    def write(self, message: Reply, sequence: int | None = None) -> bytes:
        """The event of a message, with its sequence in a stream as its id. Raises UnicodeDecodeError if the payload is
        not text."""
        payload = base64.b64encode(message.payload) if self._is_base64 else message.payload
        kind = self._find_type(message.headers) if self._header and message.headers else b""
        if self._writes_events:
            event = self._write_event(kind, payload)
            return event if sequence is None else b"id: %d\n%b" % (sequence, event)
        return _write_line(kind, payload, sequence)

    def write_gap(self, facts: Mapping[str, object]) -> bytes:
        """The event that says that messages are missing, and why."""
        data = encode_json(facts)
        return b"event: gap\ndata: %b\n\n" % data if self._writes_events else b'{"gap":%b}\n' % data

    def write_first(self) -> bytes:
        """The beginning of a stream: how long a browser waits before it connects again. The time differs between
        callers, so that they do not all come at once."""
        if not self._writes_events:
            return b""
        spread = random.randint(-RETRY_JITTER, RETRY_JITTER)  # noqa: S311 - jitter
        return b"retry: %d\n\n" % (RETRY + spread)

    def write_beat(self) -> bytes:
        """A sign of life that is not a message."""
        return b":\n\n" if self._writes_events else b"\n"

    def _write_event(self, kind: bytes, payload: bytes) -> bytes:
        payload.decode()
        lines = payload if b"\n" not in payload and b"\r" not in payload else _LINE_BREAK.sub(b"\ndata: ", payload)
        return b"event: %b\ndata: %b\n\n" % (kind, lines) if kind else b"data: %b\n\n" % lines

    def _find_type(self, block: bytes) -> bytes:
        """The type of the event of a message; empty if it has none that can be used."""
        try:
            value = parse_block(block).first(self._header or b"") or b""
        except ValueError:
            return b""
        is_usable = len(value) <= _MAX_TYPE and _TYPE.fullmatch(value) and value.decode("ascii") not in OWN
        return value if is_usable else b""


def _write_line(kind: bytes, payload: bytes, sequence: int | None) -> bytes:
    """A message in NDJSON: JSON as it is, and any other text as a string."""
    number = b"" if sequence is None else b'"id":%d,' % sequence
    event = b'"event":%b,' % encode_json(kind.decode("ascii")) if kind else b""
    return b'{%b%b"data":%b}\n' % (number, event, _write_json(payload))


def _write_json(payload: bytes) -> bytes:
    try:
        from_json(payload, allow_inf_nan=False)
    except ValueError:
        return encode_json(payload.decode())
    return payload.translate(_ONE_LINE)  # line breaks are only between the parts of JSON, never within a string


def open_events(form: Form) -> Response:
    """The head of a stream."""
    own = (b"content-type", form.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")
    return Response(200, Fields((*own, (b"vary", b"Accept"))), b"")


def write_time(seconds: float) -> str:
    """A Unix time, as in RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
