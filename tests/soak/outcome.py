"""What came of a soak: its figures, and the faults that the laws find in them. Pure."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tests.soak.gauge import Reading
from tests.soak.hostile import HOSTILE
from tests.soak.laws import GAP, find_drift, find_lies, find_lost, find_missing, find_untold
from tests.soak.ledger import Claim, Ledger
from tests.soak.load import KINDS
from tests.soak.plan import Event

SAME_COST, BRIEF = 0.4, 30.0
"""The part by which CPU a request may differ between two parts of a run that take BRIEF seconds. A longer part is more
exact, as a mean of more requests is: on a machine with other work, the standard deviation of parts of 30 s was 5 to
9 %, and of parts of 100 s 4 %."""
MOST_SHOWN = 5  # faults of a kind


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run: what each gateway takes at rest after it. `cost` is CPU microseconds for each answer of the
    gateway that stays."""

    readings: Sequence[Reading]
    cost: float


@dataclass(slots=True)
class Outcome:
    """All figures of a run."""

    minutes: float
    part_seconds: float
    ledger: Ledger
    parts: list[Part] = field(default_factory=list)
    runs: bytearray = field(default_factory=bytearray)
    stored: dict[int, list[int]] = field(default_factory=dict)
    """By message, its sequences in the stream."""
    core: Sequence[Sequence[int]] = ()
    """By reader, what it saw of core NATS."""
    jetstream: Sequence[Sequence[int]] = ()
    published: int = 0
    """How many numbers the stream of JetStream has."""
    hostile: Counter[str] = field(default_factory=Counter)
    done: Counter[Event] = field(default_factory=Counter)
    lag: float = 0.0
    """Seconds by which a timer of the callers came too late, at most."""
    gaps: int = 0
    events: int = 0
    troubles: list[str] = field(default_factory=list)
    """Faults that are found while it runs, and in logs."""

    def find_faults(self) -> Iterator[str]:
        """Everything that breaks a law; of each kind the first MOST_SHOWN."""
        yield from self.troubles
        yield from self.ledger.wrong
        yield from islice(find_lies(self.ledger.claims, self.runs), MOST_SHOWN)
        yield from islice(find_lost(self.ledger.posted, self.stored), MOST_SHOWN)
        for seen in self.core:
            yield from islice(find_untold(seen), MOST_SHOWN)
        for seen in self.jetstream:
            yield from islice(find_missing(seen, self.published), MOST_SHOWN)
        yield from self._find_nothing()
        yield from self._find_drifts()

    def _find_nothing(self) -> Iterator[str]:
        """Whatever never happened: a law says nothing about it."""
        yield from (f"it did not happen: {event}" for event in Event if not self.done[event])
        yield from (f"hostile callers never connected: {name}" for name in HOSTILE if not self.hostile[name])
        yield from ("a reader of core NATS saw no number" for seen in self.core if set(seen) <= {GAP})
        if not self.published:
            yield "no number was published to JetStream"
        if not any(answer.claim is Claim.YES for heard in self.ledger.posted.values() for answer in heard):
            yield "no message was acknowledged"

    def _find_drifts(self) -> Iterator[str]:
        first, last = self.parts[0], self.parts[-1]
        for number, name in enumerate(("the gateway that stays", "the new gateway")):
            before, after = first.readings[number], last.readings[number]
            yield from find_drift(f"memory of {name}, MiB", before.private, after.private)
            yield from find_drift(f"open files of {name}", before.files, after.files)
        yield from find_drift("CPU a request, µs", first.cost, last.cost, find_cost_limit(self.part_seconds))

    def find_unasked(self, asked: set[str]) -> Iterator[str]:
        """Kinds of requests that never had their right answer."""
        yield from (f"never answered as it should be: {kind}" for kind in KINDS if kind not in asked)

    @property
    def cost_spread(self) -> float:
        """By how much CPU a request differs between parts: the standard deviation, as a part of the mean."""
        costs = [part.cost for part in self.parts]
        return statistics.pstdev(costs) / statistics.fmean(costs)


def find_cost_limit(seconds: float) -> float:
    """The part by which CPU a request may differ between two parts of a run that take so long."""
    return SAME_COST * math.sqrt(BRIEF / seconds)


def describe_change(before: float, after: float, unit: str = "") -> str:
    """Two figures and how much they differ. Figures without a unit are whole."""
    digits = 1 if unit else 0
    change = round((after - before) / before, 3) or 0.0  # not -0.0
    return f"{before:,.{digits}f} → {after:,.{digits}f}{unit} ({change:+.1%})"
