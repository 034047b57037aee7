"""The table of a soak, as Markdown."""

import os
from collections import Counter
from pathlib import Path

from tests.faults.report import describe_lateness, describe_run
from tests.soak.ledger import Claim
from tests.soak.outcome import Outcome, describe_change
from tests.soak.plan import Event

MIB = " MiB"
BEGIN, END = "<!-- figures of the soak -->\n", "<!-- end of the soak -->\n"


def list_rows(outcome: Outcome) -> list[tuple[str, str]]:
    """What is measured, and the figure."""
    return [*_list_what_happened(outcome), *_list_what_it_took(outcome)]


def _list_what_happened(outcome: Outcome) -> list[tuple[str, str]]:
    ledger = outcome.ledger
    acknowledged = sum(any(answer.claim is Claim.YES for answer in heard) for heard in ledger.posted.values())
    readers = len(outcome.core) + len(outcome.jetstream)
    jetstream = f"JetStream: each of {outcome.published:,} numbers once and in order"
    seconds, words = ledger.latest
    late = f"{describe_lateness(seconds)} ({words}); a timer of the callers was up to {outcome.lag * 1000:.0f} ms late"
    return [
        ("events", ", ".join(f"{outcome.done[event]} × {event}" for event in Event)),
        ("connections of hostile callers", _list(outcome.hostile)),
        ("answers", _list(ledger.counts)),
        ("latest answer", late),
        ("requests that services could run", f"{len(ledger.claims):,}; all answers are true"),
        ("messages handed in", f"{len(ledger.posted):,}; {acknowledged:,} were acknowledged, and each is stored once"),
        ("streams", f"{outcome.events:,} events to {readers} readers; core NATS: {outcome.gaps:,} gaps; {jetstream}"),
    ]


def _list_what_it_took(outcome: Outcome) -> list[tuple[str, str]]:
    first, last = outcome.parts[0], outcome.parts[-1]
    (before, new), (after, newest) = first.readings, last.readings
    of_parts = f"in the first and in the last {outcome.part_seconds:g} seconds"
    private = "memory of the gateway that stays, without pages of files"
    return [
        (private, describe_change(before.private, after.private, MIB)),
        ("the same after each part, MiB", ", ".join(f"{part.readings[0].private:.1f}" for part in outcome.parts)),
        ("its PSS", describe_change(before.pss, after.pss, MIB)),
        ("its open files", describe_change(before.files, after.files)),
        ("memory of the first and of the last new gateway", describe_change(new.private, newest.private, MIB)),
        ("their open files", describe_change(new.files, newest.files)),
        (f"CPU a request {of_parts}", describe_change(first.cost, last.cost, " µs")),
        ("the same in each part, µs", ", ".join(f"{part.cost:.0f}" for part in outcome.parts)),
        ("its standard deviation", f"{outcome.cost_spread:.1%} of the mean"),
    ]


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} × {words}" for words, count in counts.most_common())


def format_table(outcome: Outcome) -> str:
    """The day, the machine, how long the run was, and the table."""
    rows = "".join(f"| {name} | {figure} |\n" for name, figure in list_rows(outcome))
    return f"{outcome.minutes:g} minutes, {describe_run()}\n\n| | |\n|---|---|\n{rows}"


def write(outcome: Outcome, path: Path) -> None:
    """In the page instead of the table that is there. A page without a table becomes a page of this table only."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    table = format_table(outcome)
    path.write_text(f"{before}{begin}{table}{end}{after}" if begin else table, encoding="utf-8")


def write_if_asked(outcome: Outcome) -> None:
    """To the page that SOAK_REPORT names."""
    if path := os.environ.get("SOAK_REPORT"):
        write(outcome, Path(path))
