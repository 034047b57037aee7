"""Values that each process writes to its board at intervals: gauges, and counters that other modules keep."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..formats.clusters import MAIN
from .board import Board, Boards

GAUGE, COUNTER = "gauge", "counter"
"""The kinds of cells with one floating point number each."""

Ask = Callable[[], float | None]
"""Returns the current value of a gauge. None if it is not known."""


class Gauge(NamedTuple):
    """How the values of several processes become one value, and its description."""

    combine: Callable[[Iterable[float]], float]
    help: str


GAUGES = {
    "requests_in_flight": Gauge(sum, "Requests that wait for a reply from NATS."),
    "requests_in_flight_limit": Gauge(
        sum, "The most requests that may wait: GATEWAY_MAX_IN_FLIGHT times the number of workers."
    ),
    "open_connections": Gauge(sum, "Open HTTP connections."),
    "streams_open": Gauge(sum, "Open streams of messages."),
    "nats_connected": Gauge(min, "1 if all workers are connected to NATS, else 0."),
    "nats_round_trip_seconds": Gauge(max, "How long the last heartbeat took to NATS and back, for the slowest worker."),
    "nats_backlog_bytes": Gauge(sum, "Bytes that the gateway has sent and NATS has not read yet."),
    "routes": Gauge(max, "Routes of the gateway."),
    "workers": Gauge(sum, "Worker processes."),
    "config_last_reload_successful": Gauge(
        min, "1 if the last reload of the route file was successful, 0 if the old routes still apply."
    ),
    "config_last_reload_success_timestamp_seconds": Gauge(max, "When the current routes were loaded, as Unix time."),
}
OF_CLUSTERS = frozenset(
    (
        "requests_in_flight",
        "requests_in_flight_limit",
        "nats_connected",
        "nats_round_trip_seconds",
        "nats_backlog_bytes",
    )
)
"""The gauges that each NATS cluster has for itself."""
NATS_RECONNECTS, CPU_SECONDS, STREAM_EVENTS = "nats_reconnects", "cpu_seconds", "stream_events"
"""The names of counters."""
GAP_CAUSES = (
    "slow",
    "disconnect",
    "permission-denied",
    "encoding",
    "purged",
    "ahead",
    "unknown-id",
    "reset",
    "unavailable",
)


def name_of(name: str, cluster: str) -> str:
    """The name of a gauge of OF_CLUSTERS, or of NATS_RECONNECTS, for this NATS cluster."""
    return name if cluster == MAIN else f"{name}.{cluster}"


def name_gaps(cause: str) -> str:
    """The name of the counter of gaps in streams for this cause, one of GAP_CAUSES."""
    return f"stream_gaps.{cause}"


def set_gauge(board: Board, name: str, value: float | None) -> None:
    """Write a gauge, a name of GAUGES or of `name_of`, for this process. None if its value is not known."""
    cell = board.allot((GAUGE, name), 1)
    if cell is not None:
        board.floats[cell] = math.nan if value is None else value


def read_gauge(boards: Boards, name: str) -> float | None:
    """The combined value of all living processes. None if no process knows it."""
    cells = ((board, board.get((GAUGE, name))) for board in boards.living)
    values = [board.floats[cell] for board, cell in cells if cell is not None]
    known = [value for value in values if not math.isnan(value)]
    return GAUGES[name.partition(".")[0]].combine(known) if known else None


def read_counter(boards: Boards, name: str) -> float:
    """The sum over all processes, including dead ones."""
    cells = ((board, board.get((COUNTER, name))) for board in boards.all)
    return sum(board.floats[cell] for board, cell in cells if cell is not None)


class Reporter:
    """Writes to the board of its process. It asks `gauges` and `counters` each time. Each counter of a process begins
    at 0, and is added to the last value of the process before it on the same board."""

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
        """Write all current values."""
        for name, ask in self._gauges.items():
            set_gauge(self._board, name, ask())
        for (ask_counter, cell), before in zip(self._counters, self._before, strict=True):
            self._board.floats[cell] = before + ask_counter()
        self._board.beat()

    def leave(self) -> None:
        """Write all values for the last time, since the process ends."""
        self.report()
        self._board.leave()
