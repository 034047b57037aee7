"""What the connections of a server do just now. They know all of it anyway, so it costs nothing until somebody asks."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..pieces import Steps
from .fast_exchange import FastExchange
from .protocol import GatewayProtocol

_PART = 50  # connections in one step, so that it is short


@dataclass(slots=True)
class Unanswered:
    """The requests of one route that have no complete response yet."""

    count: int = 0
    sent: int = 0
    """The number of those that have gone to the service."""
    oldest: float = 0.0
    """The seconds since the head of the oldest one was complete."""


@dataclass(slots=True)
class Survey:
    """The state of all connections. `routes` has the requests by the name of their route. It is empty for pages, and
    before the route is known."""

    connections: int = 0
    idle: int = 0
    """The number of connections that are between two requests."""
    routes: dict[str, Unanswered] = field(default_factory=dict)


def survey_connections(connections: Iterable[GatewayProtocol]) -> Steps[Survey]:
    """Look at all connections, in short steps."""
    found = Survey()
    for connection in list(connections):
        found.connections += 1
        if connection.is_idle:
            found.idle += 1
        elif connection.is_in_flight:
            _note(found, connection)
        if found.connections % _PART == 0:
            yield
    return found


def _note(found: Survey, connection: GatewayProtocol) -> None:
    waiting = found.routes.setdefault(connection.find_route() or "", Unanswered())
    waiting.count += 1
    cycle: object = connection.cycle  # of our class on the fast lane, else of uvicorn's
    if isinstance(cycle, FastExchange):
        received, is_sent = cycle.request.received, cycle.in_flight is not None
    elif (side := connection.side) is not None:
        received, is_sent = side.request.received, side.is_sent
    else:  # it has just been given up
        return
    waiting.sent += is_sent
    waiting.oldest = max(waiting.oldest, time.monotonic() - received)
