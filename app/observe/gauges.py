"""What a process says of itself at intervals: gauges, and counters that others keep. A board has their values."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .board import Board, Boards

GAUGE, COUNTER = "gauge", "counter"
"""Kinds of cells, of one floating point number each."""

Ask = Callable[[], float | None]
"""The value of a gauge at this moment; None where it is not known."""


class Gauge(NamedTuple):
    """How the values of several processes become one, and what it means."""

    combine: Callable[[Iterable[float]], float]
    help: str


GAUGES = {
    "requests_in_flight": Gauge(sum, "Requests that were sent to NATS and have no reply yet."),
    "requests_in_flight_limit": Gauge(
        sum, "The most requests that may be in flight: GATEWAY_MAX_IN_FLIGHT times the workers."
    ),
    "open_connections": Gauge(sum, "HTTP connections that are open."),
    "nats_connected": Gauge(min, "1 if all workers are connected to NATS, else 0."),
    "nats_round_trip_seconds": Gauge(max, "The last round trip to the NATS server, of the slowest worker."),
    "nats_backlog_bytes": Gauge(sum, "Bytes that are sent, and that the NATS server has not taken yet."),
    "routes": Gauge(max, "Routes that are served."),
    "workers": Gauge(sum, "Worker processes that serve."),
    "config_last_reload_successful": Gauge(min, "1 if the last reload of the route file was successful, else 0."),
    "config_last_reload_success_timestamp_seconds": Gauge(
        max, "When the routes that are served were loaded, as Unix time."
    ),
}
NATS_RECONNECTS, CPU_SECONDS = "nats_reconnects", "cpu_seconds"
"""Names of counters."""


def set_gauge(board: Board, name: str, value: float | None) -> None:
    """One of GAUGES, as this process sees it. None: it is not known."""
    cell = board.allot((GAUGE, name), 1)
    if cell is not None:
        board.floats[cell] = math.nan if value is None else value


def read_gauge(boards: Boards, name: str) -> float | None:
    """The value of all processes that live. None where no process knows it."""
    cells = ((board, board.get((GAUGE, name))) for board in boards.living)
    values = [board.floats[cell] for board, cell in cells if cell is not None]
    known = [value for value in values if not math.isnan(value)]
    return GAUGES[name].combine(known) if known else None


def read_counter(boards: Boards, name: str) -> float:
    """The sum over all processes, also of those that have died."""
    cells = ((board, board.get((COUNTER, name))) for board in boards.all)
    return sum(board.floats[cell] for board, cell in cells if cell is not None)


class Reporter:
    """Writes to the board of its process. `gauges` and `counters` are asked each time; a counter begins at 0 in each
    process, and goes on from where the process before in its place has ended."""

    def __init__(
        self,
        board: Board,
        *,
        gauges: Mapping[str, Ask],
        counters: Mapping[str, Callable[[], float]],
    ) -> None:
        self._board = board
        self._gauges = gauges
        self._counters = [(ask, cell) for name, ask in counters.items() if (cell := board.allot((COUNTER, name), 1))]
        self._before = [board.floats[cell] for _, cell in self._counters]

    def report(self) -> None:
        """As of this moment."""
        for name, ask in self._gauges.items():
            set_gauge(self._board, name, ask())
        for (ask_counter, cell), before in zip(self._counters, self._before, strict=True):
            self._board.floats[cell] = before + ask_counter()
        self._board.beat()

    def leave(self) -> None:
        """For the last time: the process ends."""
        self.report()
        self._board.leave()
