"""The latest failures of all processes, for people who look at them live."""

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

MOST = 100  # of each process, and that are shown
MOST_ALIKE = 10  # of one route and slug

_NOTE = "failures"
_LONGEST = 200  # characters of a request id or a route's name


class Recent:
    """An observer of records that remembers the last MOST failures (5xx) of this process. `publish` lets the others see
    them."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._has_changed = False

    def take(self, record: Record) -> None:
        if is_failure(record):
            self._drop_oldest_of(record.route, record.slug)
            self._lines.append(_describe(record))
            self._has_changed = True

    def _drop_oldest_of(self, route: str | None, slug: str | None) -> None:
        """A storm of one kind must not push out all others."""
        alike = [line for line in self._lines if (line["route"], line["slug"]) == (route, slug)]
        if len(alike) >= MOST_ALIKE:
            self._lines.remove(alike[0])

    def add_left_out(self, summary: Summary) -> None:
        """So many like the last one of this route and slug followed it, and were summed up."""
        for line in reversed(self._lines):
            if (line["route"], line["slug"]) == (summary.route, summary.slug):
                line["more"] += summary.count
                self._has_changed = True
                break

    def publish(self) -> None:
        """At intervals: only then something is written, and only if there is something new."""
        if self._has_changed:
            self._has_changed = False
            self._board.write_note(_NOTE, json.dumps(list(self._lines), separators=(",", ":")).encode("ascii"))


def read_failures(boards: Boards) -> list[dict[str, Any]]:
    """The last MOST failures of all processes, also of those that have died, the newest first."""
    found = (line for board in boards.all for line in reversed(list(_read(board))))
    return heapq.nlargest(MOST, found, key=lambda line: line["time"])


def _read(board: Board) -> Iterator[dict[str, Any]]:
    try:
        yield from json.loads(board.read_note(_NOTE) or b"[]")
    except ValueError:  # it changed again and again while it was read
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
