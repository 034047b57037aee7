"""What happens in a soak, and when. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum

LONG = 3600.0  # seconds of a run that has twelve parts of five minutes
PARTS, PARTS_OF_LONG = 6, 12
ROUND = 60.0  # seconds from one reload to the next, at most
SHORTEST = 180.0  # seconds
PATIENCE = 90.0  # seconds until something that must happen is treated as failed, on a machine that is very busy


class Event(StrEnum):
    """What is done to the parts of the site."""

    KILL = "a NATS node killed, and started again"
    RELOAD = "new routes loaded by SIGHUP"
    REFUSE = "an invalid route file refused at SIGHUP"
    REPLACE = "a gateway replaced"


@dataclass(frozen=True, slots=True)
class Step:
    """An event, so many seconds after the beginning of a part."""

    at: float
    event: Event


def split(minutes: float) -> tuple[int, float]:
    """How many parts a run has, and how many seconds each takes. Raises ValueError if it is too short for each event
    to happen."""
    seconds = minutes * 60
    if seconds < SHORTEST:
        raise ValueError(f"a soak takes at least {SHORTEST / 60:g} minutes")
    count = PARTS_OF_LONG if seconds >= LONG else PARTS
    return count, seconds / count


def plan(seconds: float) -> list[Step]:
    """The steps of a part. In each round of at most ROUND seconds a node is killed, new routes are loaded, and an
    invalid file is refused. In the first round a gateway is replaced as well."""
    rounds = math.ceil(seconds / ROUND)
    each = seconds / rounds
    steps = []
    for number in range(rounds):
        begin = number * each
        steps += [Step(begin + 0.05 * each, Event.KILL), Step(begin + 0.35 * each, Event.RELOAD)]
        if number == 0:
            steps.append(Step(begin + 0.5 * each, Event.REPLACE))
        steps.append(Step(begin + 0.75 * each, Event.REFUSE))
    return steps
