"""The laws of a soak. Each function returns the faults that it found, in words. Pure.

1. No lie: a request that ran was not answered "not delivered"; one that did not run was not answered "delivered"; none
   ran twice; each has an answer.
2. A message that was acknowledged is in its stream once, with the sequence of the acknowledgement. One that was
   answered "not delivered" is not in it.
3. A stream repeats no number, and what is missing is inside a gap that its caller was told about. Of a JetStream stream
   nothing is missing.
4. Memory, open files and CPU a request are the same at the end as after the warm-up.
5. No log has a traceback, and no process is left.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.soak.ledger import Answer, Claim

GAP = -1
"""In what a reader saw: the caller was told that messages may be missing, or its stream began again."""
EPOCH = 1_000_000
"""Numbers of a publisher on one connection to NATS. The next connection begins at a multiple of it."""
FLAT = 0.05
"""The part by which memory and open files may differ."""
BAD_WORDS = re.compile(r"Traceback \(most recent call last\)|\"exception\":|\"slug\":\"internal\"|\bpanic: |\[FTL\]")


def find_lies(claims: bytearray, runs: bytearray) -> Iterator[str]:
    """Law 1. `runs` says how often each request ran."""
    for number, (claim, count) in enumerate(zip(claims, runs, strict=True)):
        if count > 1:
            yield f"request {number} ran {count} times"
        if claim == Claim.NOTHING:
            yield f"request {number} has no answer"
        elif claim == Claim.NO and count:
            yield f"request {number} ran, and its caller heard that it did not"
        elif claim == Claim.YES and not count:
            yield f"request {number} did not run, and its caller heard that it did"


def find_lost(posted: Mapping[int, Sequence[Answer]], stored: Mapping[int, Sequence[int]]) -> Iterator[str]:
    """Law 2. `stored` has the sequences of each message in the stream."""
    for number, answers in posted.items():
        found = list(stored.get(number, ()))
        told = {answer.seq for answer in answers if answer.claim is Claim.YES}
        if len(found) > 1:
            yield f"message {number} is in the stream {len(found)} times"
        elif told and not found:
            yield f"message {number} was acknowledged, and is not in the stream"
        elif told and told != set(found):
            yield f"message {number} has sequence {found[0]}, and its caller heard {sorted(told)}"
        elif found and all(answer.claim is Claim.NO for answer in answers):
            yield f"message {number} is in the stream, and its caller heard that it is not"
    for number in stored.keys() - posted.keys():
        yield f"message {number} is in the stream, and nobody handed it in"


def find_untold(seen: Sequence[int]) -> Iterator[str]:
    """Law 3, for what one reader of core NATS saw."""
    yield from _find_repeats(seen)
    for before, after in itertools.pairwise(seen):
        is_next = after == before + 1 or (after // EPOCH > before // EPOCH and after % EPOCH == 0)
        if GAP not in (before, after) and not is_next and after > before:
            yield f"{after} came after {before} without a gap"


def find_missing(seen: Sequence[int], count: int) -> Iterator[str]:
    """Law 3, for what one reader of a JetStream stream saw, which has the numbers below `count`."""
    yield from _find_repeats(seen)
    missing = sorted(set(range(count)) - set(seen))
    if missing:
        yield f"{len(missing)} of {count} numbers are missing, the first is {missing[0]}"


def _find_repeats(seen: Sequence[int]) -> Iterator[str]:
    numbers = [number for number in seen if number != GAP]
    for before, after in itertools.pairwise(numbers):
        if after <= before:
            yield f"{after} came after {before}"


def find_drift(name: str, before: float, after: float, limit: float = FLAT) -> Iterator[str]:
    """Law 4, for one figure."""
    if abs(after - before) > limit * before:
        yield f"{name}: {before:,.1f} at first, and {after:,.1f} at last"


def find_bad_words(name: str, lines: Iterable[str]) -> Iterator[str]:
    """Law 5, for one log: the lines that no log should have."""
    for number, line in enumerate(lines, 1):
        if BAD_WORDS.search(line):
            yield f"{name}:{number}: {line.strip()[:300]}"
