"""W3C trace context: the trace of a request, and the headers that its service gets. Pure, and without OpenTelemetry.

Laws:
1. A `traceparent` that breaks the specification is ignored, and so are two of them: a new trace begins.
2. Every request to a service has exactly one valid `traceparent`, even if the trace is not sampled. Otherwise the
   service would begin a trace of its own.
3. `tracestate` travels unchanged if there is a valid `traceparent`, and if it has at most MAX_STATE bytes.
"""

import os
import re
from binascii import hexlify
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from ..formats.fields import MAX_REMEMBERED, AllowList, Pair, RepeatedFields, is_clean_value

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
SAMPLED = 1
MAX_STATE = 512  # bytes; W3C Trace Context §3.3.1.5 asks for no more

_BATCH = 128  # ids that are made at once
_PASSED_FLAGS = SAMPLED | 2  # Level 2 adds: the id of the trace is random
_VALUE = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


class Parent(NamedTuple):
    """The trace of the caller, according to its headers. The ids are in hexadecimal digits."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: bytes


class Sent(NamedTuple):
    """A request that was handed to NATS. `at` is an instant of `time.monotonic`."""

    subject: str
    template: str
    at: float


class Surroundings(NamedTuple):
    """Facts about an exchange that its record does not have.

    - `received`: an instant of `time.monotonic`.
    - `path`: the path template of the route.
    - `server`: the address of the NATS server.
    - `epoch`: the nanoseconds from 1970 to the instant 0.
    """

    received: float
    scheme: str
    path: str | None
    server: str | None
    epoch: int

    def convert_time(self, instant: float) -> int:
        """The nanoseconds from 1970 to an instant."""
        return self.epoch + round(instant * 1e9)


@dataclass(slots=True)
class Trace:
    """A request in a sampled trace. The ids are in hexadecimal digits. `parent` is None if the trace begins here. For
    the service, `client_id` is the parent."""

    trace_id: bytes
    parent: Parent | None
    server_id: bytes
    client_id: bytes
    sent: Sent | None = None


NOT_SAMPLED = Trace(b"", None, b"", b"")
"""Used for all requests that get no span."""


def make_ids() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Endless: three ids of 16 random hexadecimal digits each time. They are made in batches, at a tenth of the
    cost."""
    return chain.from_iterable(_make_batches())


def _make_batches() -> Iterator[Iterator[tuple[bytes, bytes, bytes]]]:
    while True:
        ids = iter(hexlify(os.urandom(_BATCH * 3 * 8), b" ", 8).split(b" "))
        yield zip(ids, ids, ids, strict=True)


def mentions_trace(headers: Sequence[Pair]) -> bool:
    """Whether the caller sends one of the two headers."""
    if headers.__class__ is not RepeatedFields:
        return _mentions_trace(headers)
    if headers.mentions_trace is None:
        headers.mentions_trace = _mentions_trace(headers)
    return headers.mentions_trace


def _mentions_trace(headers: Sequence[Pair]) -> bool:
    said = dict(headers)  # takes a third of the time of a loop
    return TRACEPARENT in said or TRACESTATE in said


def find_parent(headers: Sequence[Pair]) -> Parent | None:
    """The valid parent in these headers, if any."""
    values = [text for name, text in headers if name == TRACEPARENT]
    match = _VALUE.fullmatch(values[0].strip(b" \t")) if len(values) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id, span_id, int(flags, 16) & _PASSED_FLAGS, _find_state(headers))


class Names(NamedTuple):
    """The names of the two headers on the NATS side. `begin` is the beginning of the line of `parent`."""

    parent: bytes
    state: bytes
    begin: bytes


@lru_cache(MAX_REMEMBERED)
def choose_names(allow: AllowList) -> Names:
    """The names of the two headers, ready for writing, in the spelling of a route that lists them."""
    parent, state = (allow.canonical(name) if name in allow.names else name for name in (TRACEPARENT, TRACESTATE))
    return Names(parent, state, b"%b: 00-" % parent)


def remove_trace(block: bytes, names: Names) -> bytes:
    """The header block without the two headers."""
    lines = tuple(b"%b:" % name.lower() for name in (names.parent, names.state))
    return b"\r\n".join([line for line in block.split(b"\r\n") if not line.lower().startswith(lines)])


def write_trace(
    block: bytes, names: Names, trace_id: bytes, span_id: bytes, parent: Parent | None, is_sampled: bool
) -> bytes:
    """The header block with the headers of this trace. It must have none yet."""
    head = block[:-2] if block else b"NATS/1.0\r\n"
    if parent is None:
        end = b"-01\r\n\r\n" if is_sampled else b"-00\r\n\r\n"
    else:
        state = b"%b: %b\r\n" % (names.state, parent.state) if parent.state else b""
        end = b"-%02x\r\n%b\r\n" % ((parent.flags & ~SAMPLED) | is_sampled, state)
    return b"".join((head, names.begin, trace_id, b"-", span_id, end))  # half the cost of formatting


def _find_state(headers: Sequence[Pair]) -> bytes:
    state = b",".join([text.strip(b" \t") for name, text in headers if name == TRACESTATE])
    return state if len(state) <= MAX_STATE and state.isascii() and is_clean_value(state) else b""
