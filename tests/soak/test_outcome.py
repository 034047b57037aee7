"""The outcome of a soak is a failure if any figure is wrong, and its table has all figures."""

from collections import Counter
from pathlib import Path

import pytest

from tests.soak.gauge import Reading
from tests.soak.hostile import HOSTILE
from tests.soak.laws import GAP
from tests.soak.ledger import Answer, Claim, Ledger
from tests.soak.load import KINDS, QUESTIONS
from tests.soak.outcome import Outcome, Part, describe_change, find_cost_limit
from tests.soak.plan import Event
from tests.soak.report import BEGIN, END, format_table, write

STAYS, REPLACED = Reading(120, 100, 50, 1), Reading(110, 90, 40, 1)


@pytest.fixture
def outcome() -> Outcome:
    """A run in which all is right."""
    ledger = Ledger()
    ledger.note(ledger.begin(), Answer(Claim.YES, "200"))
    ledger.count(Answer(Claim.YES, "200"), gateway="one", late=-1, path="/a")
    ledger.posted[0] = [Answer(Claim.YES, "201", seq=7)]
    return Outcome(
        minutes=3,
        part_seconds=30,
        ledger=ledger,
        parts=[Part([STAYS, REPLACED], 100.0), Part([STAYS, REPLACED], 101.0)],
        runs=bytearray([1]),
        stored={0: [7]},
        core=[[3, 4, GAP, 9]],
        jetstream=[[0, 1]],
        published=2,
        hostile=Counter(HOSTILE.keys()),
        done=Counter(Event),
        gaps=1,
        events=5,
    )


def test_a_run_in_which_all_is_right_has_no_fault(outcome: Outcome) -> None:
    assert list(outcome.find_faults()) == []


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("runs", bytearray([0]), "request 0 did not run, and its caller heard that it did"),
        ("stored", {0: [8]}, "message 0 has sequence 8, and its caller heard [7]"),
        ("core", [[3, 4, 9]], "9 came after 4 without a gap"),
        ("jetstream", [[0, 1], [1]], "1 of 2 numbers are missing, the first is 0"),
        ("done", Counter({event: 1 for event in Event if event is not Event.KILL}), f"it did not happen: {Event.KILL}"),
        ("hostile", Counter(list(HOSTILE)[1:]), f"hostile callers never connected: {next(iter(HOSTILE))}"),
        ("core", [[GAP, GAP]], "a reader of core NATS saw no number"),
        ("troubles", ["left running: 7"], "left running: 7"),
    ],
)
def test_a_wrong_figure_is_a_fault(outcome: Outcome, name: str, value: object, fault: str) -> None:
    setattr(outcome, name, value)
    (found,) = outcome.find_faults()
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("readings", "cost", "fault"),
    [
        (
            [Reading(120, 106, 50, 1), REPLACED],
            100.0,
            "memory of the gateway that stays, MiB: 100.0 at first, and 106.0",
        ),
        ([Reading(120, 100, 53, 1), REPLACED], 100.0, "open files of the gateway that stays: 50.0 at first, and 53.0"),
        ([STAYS, Reading(110, 80, 40, 1)], 100.0, "memory of the new gateway"),
        ([STAYS, Reading(110, 90, 44, 1)], 100.0, "open files of the new gateway"),
        ([STAYS, REPLACED], 141.0, "CPU a request"),
    ],
)
def test_a_last_part_that_differs_from_the_first_is_a_fault(
    outcome: Outcome, readings: list[Reading], cost: float, fault: str
) -> None:
    outcome.parts.append(Part(readings, cost))
    (found,) = outcome.find_faults()
    assert found.startswith(fault)


def test_a_run_without_messages_is_a_fault(outcome: Outcome) -> None:
    outcome.ledger.posted.clear()
    outcome.stored.clear()
    outcome.published = 0
    outcome.jetstream = [[]]
    assert list(outcome.find_faults()) == ["no number was published to JetStream", "no message was acknowledged"]


def test_cpu_of_long_parts_is_compared_more_exactly(outcome: Outcome) -> None:
    assert [find_cost_limit(seconds) for seconds in (30, 100, 300)] == pytest.approx([0.4, 0.22, 0.126], abs=0.01)
    outcome.parts.append(Part([STAYS, REPLACED], 120.0))
    assert list(outcome.find_faults()) == []
    outcome.part_seconds = 300
    (found,) = outcome.find_faults()
    assert found == "CPU a request, µs: 100.0 at first, and 120.0 at last"


def test_an_answer_that_is_wrong_by_itself_is_a_fault(outcome: Outcome) -> None:
    outcome.ledger.blame("request 0 has another body")
    assert list(outcome.find_faults()) == ["request 0 has another body"]


def test_a_kind_of_request_that_never_succeeded_is_found(outcome: Outcome) -> None:
    assert list(outcome.find_unasked(set(KINDS))) == []
    assert list(outcome.find_unasked(set(KINDS[1:]))) == [f"never answered as it should be: {KINDS[0]}"]


def test_a_wrong_key_is_refused_and_never_runs() -> None:
    refused = QUESTIONS["a wrong key"]
    assert refused.allows("unauthenticated")
    assert not refused.allows("200")
    assert not refused.allows("timeout")
    assert QUESTIONS["small"].allows("timeout")
    assert not QUESTIONS["small"].allows("unauthenticated")


def test_the_table_takes_the_place_of_the_one_in_a_page(outcome: Outcome, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    write(outcome, page)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}{format_table(outcome)}{END}after\n"
    assert "| its open files | 50 → 50 (+0.0%) |" in format_table(outcome)
    assert "| the same after each part, MiB | 100.0, 100.0 |" in format_table(outcome)
    assert "| CPU a request in the first and in the last 30 seconds | 100.0 → 101.0 µs (+1.0%) |" in format_table(
        outcome
    )
    assert "| the same in each part, µs | 100, 101 |" in format_table(outcome)
    alone = tmp_path / "alone.md"
    write(outcome, alone)
    assert alone.read_text(encoding="utf-8") == format_table(outcome)


def test_changes_are_shown_with_their_units() -> None:
    assert describe_change(100, 103.04, " MiB") == "100.0 → 103.0 MiB (+3.0%)"
    assert describe_change(100, 99.99, " MiB") == "100.0 → 100.0 MiB (+0.0%)"
    assert describe_change(2000, 1000) == "2,000 → 1,000 (-50.0%)"
