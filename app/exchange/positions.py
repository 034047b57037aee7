"""Chooses where a caller begins to read a stream: `Last-Event-ID` of server-sent events. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from ..edge.request import Request
from ..formats.fields import find_values
from ..routing.kinds import LAST_EVENT_ID

_HEADER = b"last-event-id"

_MAX_DIGITS = 19
_MAX_PARAMETERS = 1024


@dataclass(frozen=True, slots=True)
class Position:
    """The first sequence that the caller wants. `gap` says what it can't get, if there is something."""

    first: int
    gap: Mapping[str, object] | None = None


def find_last_id(request: Request) -> str | None:
    """The id of the last event that the caller has, if it says so. The header counts more than the query."""
    values = find_values(request.headers, _HEADER)
    if values:
        return b",".join(values).decode("latin-1").strip()
    found = [value for name, value in _read_query(request.query) if name == LAST_EVENT_ID]
    return found[0] if found else None


def _read_query(query: bytes) -> Sequence[tuple[str, str]]:
    """The parameters of a query; none if there are very many."""
    if LAST_EVENT_ID.encode() not in query or query.count(b"&") >= _MAX_PARAMETERS:
        return ()
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True)


def read_id(last_id: str | None) -> int | None:
    """The sequence that an id says. None if it is not one, or if there is no id."""
    is_number = last_id is not None and last_id.isascii() and last_id.isdigit() and len(last_id) <= _MAX_DIGITS
    return int(last_id) if last_id is not None and is_number else None


def choose_position(last_id: str | None, *, first: int, last: int, start: int) -> Position:
    """The position behind the event with this id. `first` and `last` are those of the stream, and `start` is where a
    caller without an id begins."""
    if not last_id:
        return Position(start)
    sequence = read_id(last_id)
    if sequence is None:
        return Position(start, {"cause": "unknown-id"})
    wanted = sequence + 1
    if wanted > last + 1:
        return Position(last + 1, {"cause": "ahead", "first": last + 1, "last": wanted - 1})
    if wanted < first:
        return Position(first, {"cause": "purged", "first": wanted, "last": first - 1})
    return Position(wanted)
