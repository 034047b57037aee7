"""The last five minutes of the connections to NATS. Each process reports its own connections to all others."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from ..formats.clusters import MAIN
from ..nats.link import Link
from ..observe.board import Board, Boards
from ..observe.gauges import NATS_RECONNECTS, name_of, read_counter, read_gauge
from ..observe.history import STEP, STEPS
from .health import NOT_CONNECTED

UP, PARTLY, DOWN, UNKNOWN = "up", "partly", "down", "unknown"

START = 3.0  # seconds in which a process that has never been connected reports nothing

_NOTE = "nats"


class _Step(NamedTuple):
    number: int
    """The number of STEPs since 1970. It is the same in all processes."""
    state: str
    round_trip: float | None


class NatsTimeline:
    """The connection of this process to one cluster."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._steps: deque[_Step] = deque(maxlen=STEPS)
        self._reconnects = 0
        self._down_since: float | None = None
        self._started = time.time()

    def note(self) -> None:
        """Note the state of the connection. Call this every quarter of a second."""
        link, number = self._link, int(time.time() / STEP)
        if not link.has_connected and time.time() - self._started < START:
            return  # it has just started
        state = DOWN if link.server is None else UP
        if link.reconnects != self._reconnects:  # it was disconnected, perhaps very briefly
            self._reconnects, state = link.reconnects, DOWN
        if self._steps and self._steps[-1].number == number and self._steps.pop().state == DOWN:
            state = DOWN
        self._steps.append(_Step(number, state, link.round_trip))
        self._down_since = None if link.server else self._down_since or time.time()

    def describe(self) -> dict[str, object]:
        """The state of the connection, now and in the last minutes."""
        info, steps = self._link.server_info, list(self._steps)
        server = info and {**asdict(info), "address": self._link.server}
        return {
            "started": self._started,
            "reason": self._link.reason,
            "since": self._down_since,
            "server": server,
            "steps": steps,
        }


class NatsTimelines:
    """The connections of this process to all clusters."""

    def __init__(self, board: Board, links: Mapping[str, Link]) -> None:
        self._board = board
        self._timelines = {name: NatsTimeline(link) for name, link in links.items()}

    def report(self) -> None:
        """Note the states of the connections, and publish them. Call this every quarter of a second."""
        for timeline in self._timelines.values():
            timeline.note()
        reports = {name: timeline.describe() for name, timeline in self._timelines.items()}
        self._board.write_note(_NOTE, json.dumps(reports).encode("ascii"))


def describe_nats(boards: Boards, cluster: str = MAIN, *, with_details: bool) -> dict[str, Any]:
    """The connections of all living processes to this cluster. They have addresses and reasons only `with_details`."""
    reports = [report for board in boards.living if (report := _read(board, cluster))]
    states = {UP if report["server"] else DOWN for report in reports}
    servers = {json.dumps(report["server"]): report["server"] for report in reports if report["server"]}
    reason = next((report["reason"] for report in reports if report["reason"]), None)
    if not with_details:
        for server in servers.values():
            server["address"] = None
    return {
        "name": cluster,
        "state": _join(states) if states else DOWN,
        "reason": reason if with_details or reason is None else NOT_CONNECTED,
        "since": min((report["since"] for report in reports if report["since"]), default=None),
        "servers": list(servers.values()),
        "round_trip": read_gauge(boards, name_of("nats_round_trip_seconds", cluster)),
        "reconnects": int(read_counter(boards, name_of(NATS_RECONNECTS, cluster))),
        "timeline": list(_join_steps(reports)),
    }


def read_start(boards: Boards) -> float | None:
    """The Unix time at which the oldest living process started."""
    return min((report["started"] for board in boards.living if (report := _read(board, MAIN))), default=None)


def _read(board: Board, cluster: str) -> dict[str, Any]:
    try:
        reports: dict[str, dict[str, Any]] = json.loads(board.read_note(_NOTE) or b"{}")
    except ValueError:  # it changed during each attempt to read it
        return {}
    return reports.get(cluster, {})


def _join(states: set[str]) -> str:
    return states.pop() if len(states) == 1 else PARTLY


def _join_steps(reports: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps of all processes together, the oldest first."""
    by_number: dict[int, list[_Step]] = {}
    for step in (_Step(*values) for report in reports for values in report["steps"]):
        by_number.setdefault(step.number, []).append(step)
    last = int(time.time() / STEP)
    for number in range(last - STEPS + 1, last + 1):
        steps = by_number.get(number, [])
        trips = [step.round_trip for step in steps if step.round_trip is not None]
        state = _join({step.state for step in steps}) if steps else UNKNOWN
        yield {"state": state, "round_trip": max(trips, default=None)}
