"""The latest failures of all processes, for the live page of the status."""

import heapq
import json
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from .access import is_failure
from .board import Board, Boards
from .record import Record
from .storm import Summary

MOST = 100  # for each process, and on the page
MOST_ALIKE = 10  # with the same route and slug

_NOTE = "failures"
_LONGEST = 200  # characters of a request id or of the name of a route


class Recent:
    """Remembers the last MOST failures (5xx) of this process. `publish` shows them to the other processes."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._has_changed = False

    def take(self, record: Record) -> None:
        """Remember the record if it is a failure."""
        if is_failure(record):
            self._drop_oldest_of(record.route, record.slug)
            self._lines.append(_describe(record))
            self._has_changed = True

    def _drop_oldest_of(self, route: str | None, slug: str | None) -> None:
        """Many failures of one kind must not push out all others, so each kind has at most MOST_ALIKE."""
        alike = [line for line in self._lines if (line["route"], line["slug"]) == (route, slug)]
        if len(alike) >= MOST_ALIKE:
            self._lines.remove(alike[0])

    def add_left_out(self, summary: Summary) -> None:
        """Add the number of failures that were summed up to the last failure of the same route and slug."""
        for line in reversed(self._lines):
            if (line["route"], line["slug"]) == (summary.route, summary.slug):
                line["more"] += summary.count
                self._has_changed = True
                break

    def publish(self) -> None:
        """Write the failures to the board, if there are new ones. Call this at intervals."""
        if self._has_changed:
            self._has_changed = False
            self._board.write_note(_NOTE, json.dumps(list(self._lines), separators=(",", ":")).encode("ascii"))


def read_failures(boards: Boards) -> list[dict[str, Any]]:
    """The last MOST failures of all processes, including dead ones, the newest first."""
    found = (line for board in boards.all for line in reversed(list(_read(board))))
    return heapq.nlargest(MOST, found, key=lambda line: line["time"])


def _read(board: Board) -> Iterator[dict[str, Any]]:
    try:
        yield from json.loads(board.read_note(_NOTE) or b"[]")
    except ValueError:  # it changed during each attempt to read it
        return


def _describe(record: Record) -> dict[str, Any]:
    return {
        "time": round(time.time(), 3),
        "route": record.route and record.route[:_LONGEST],
        "method": record.method and record.method[:_LONGEST],
        "status": record.status,
        "slug": record.slug,
        "delivered": record.delivered,
        "request_id": record.request_id and record.request_id[:_LONGEST],
        "duration": round(record.duration, 6),
        "more": 0,
    }
