"""What the callers of a soak heard. It grows by one byte a request, so that an hour fits into memory. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

MOST_NOTED = 20  # wrong answers that are kept in words; the others are counted


class Claim(IntEnum):
    """What an answer says about the request."""

    NOTHING = 0
    """There was no answer."""
    YES = 1
    """The request has run."""
    NO = 2
    """The request has not run and will not run."""
    UNKNOWN = 3
    """Nobody knows."""


CLAIMS = {"yes": Claim.YES, "no": Claim.NO, "unknown": Claim.UNKNOWN}
"""By `delivered` of a problem."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, as a caller heard it. `kind` is its status, or the slug of its problem. `seq` is where JetStream
    stored the message."""

    claim: Claim
    kind: str
    seq: int = 0

    @property
    def words(self) -> str:
        """For a table."""
        is_problem = self.claim is not Claim.NOTHING and not self.kind.isdecimal()
        return f"{self.kind} ({self.claim.name.lower()})" if is_problem else self.kind


@dataclass(slots=True)
class Ledger:
    """All requests and their answers. The number of a request is the place of its claim."""

    claims: bytearray = field(default_factory=bytearray)
    counts: Counter[str] = field(default_factory=Counter)
    """How many answers there were, by their words."""
    by_gateway: Counter[str] = field(default_factory=Counter)
    """How many answers each gateway gave."""
    wrong: list[str] = field(default_factory=list)
    """Answers that are wrong whatever has run: the first MOST_NOTED."""
    wrong_count: int = 0
    posted: dict[int, list[Answer]] = field(default_factory=dict)
    """By message, what its caller heard: more than one answer if the caller sent it again."""
    latest: tuple[float, str] = (float("-inf"), "")
    """Seconds after its deadline that the latest answer came, and what it was."""

    def begin(self) -> int:
        """The number of a new request."""
        self.claims.append(Claim.NOTHING)
        return len(self.claims) - 1

    def note(self, number: int, answer: Answer) -> None:
        """The answer to a request."""
        self.claims[number] = answer.claim

    def count(self, answer: Answer, *, gateway: str, late: float, path: str) -> None:
        """An answer to any request or message, `late` seconds after its deadline."""
        self.counts[answer.words] += 1
        self.by_gateway[gateway] += 1
        self.latest = max(self.latest, (late, f"{answer.words} for {path}"))

    def blame(self, words: str) -> None:
        """An answer that is wrong by itself."""
        self.wrong_count += 1
        if len(self.wrong) < MOST_NOTED:
            self.wrong.append(words)


def count_runs(numbers: Iterable[int], size: int) -> bytearray:
    """By request, how often it ran: at most 255 times. `numbers` are what the services have written down."""
    runs = bytearray(size)
    for number in numbers:
        runs[number] = min(runs[number] + 1, 255)
    return runs
