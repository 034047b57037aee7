"""The laws of a soak find what breaks them."""

import pytest

from tests.soak.laws import (
    EPOCH,
    GAP,
    find_bad_words,
    find_drift,
    find_lies,
    find_lost,
    find_missing,
    find_untold,
)
from tests.soak.ledger import MOST_NOTED, Answer, Claim, Ledger, count_runs

STORED = Answer(Claim.YES, "201", seq=5)
REFUSED = Answer(Claim.NO, "not-connected")
LOST = Answer(Claim.UNKNOWN, "connection-lost")


@pytest.mark.parametrize(
    ("claim", "runs"), [(Claim.YES, 1), (Claim.NO, 0), (Claim.UNKNOWN, 0), (Claim.UNKNOWN, 1)], ids=str
)
def test_a_true_answer_is_no_lie(claim: Claim, runs: int) -> None:
    assert list(find_lies(bytearray([claim]), bytearray([runs]))) == []


@pytest.mark.parametrize(
    ("claim", "runs", "fault"),
    [
        (Claim.YES, 0, "request 0 did not run, and its caller heard that it did"),
        (Claim.NO, 1, "request 0 ran, and its caller heard that it did not"),
        (Claim.UNKNOWN, 2, "request 0 ran 2 times"),
        (Claim.NOTHING, 0, "request 0 has no answer"),
        (Claim.NOTHING, 1, "request 0 has no answer"),
    ],
)
def test_a_lie_is_found(claim: Claim, runs: int, fault: str) -> None:
    assert list(find_lies(bytearray([claim]), bytearray([runs]))) == [fault]


def test_runs_are_counted_by_request() -> None:
    assert list(count_runs([0, 2, 2], 4)) == [1, 0, 2, 0]
    assert list(count_runs([0] * 300, 1)) == [255]


@pytest.mark.parametrize(
    ("answers", "sequences"),
    [
        ([STORED], [5]),
        ([LOST, REFUSED, STORED], [5]),
        ([STORED, STORED], [5]),
        ([LOST], []),
        ([LOST], [5]),
        ([REFUSED, LOST], [5]),
        ([REFUSED], []),
    ],
)
def test_a_true_acknowledgement_is_no_fault(answers: list[Answer], sequences: list[int]) -> None:
    assert list(find_lost({1: answers}, {1: sequences} if sequences else {})) == []


@pytest.mark.parametrize(
    ("answers", "sequences", "fault"),
    [
        ([STORED], [], "message 1 was acknowledged, and is not in the stream"),
        ([STORED], [5, 6], "message 1 is in the stream 2 times"),
        ([LOST], [5, 6], "message 1 is in the stream 2 times"),
        ([STORED], [6], "message 1 has sequence 6, and its caller heard [5]"),
        ([STORED, Answer(Claim.YES, "201", seq=6)], [5], "message 1 has sequence 5, and its caller heard [5, 6]"),
        ([REFUSED], [5], "message 1 is in the stream, and its caller heard that it is not"),
    ],
)
def test_a_false_acknowledgement_is_found(answers: list[Answer], sequences: list[int], fault: str) -> None:
    assert list(find_lost({1: answers}, {1: sequences})) == [fault]


def test_a_message_that_nobody_handed_in_is_found() -> None:
    assert list(find_lost({}, {7: [1]})) == ["message 7 is in the stream, and nobody handed it in"]


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [4, 5, 6],
        [4, GAP, 9, 10],
        [4, GAP, GAP, EPOCH + 3],
        [4, 5, EPOCH, EPOCH + 1],
        [4, 3 * EPOCH],
        [GAP, 7],
    ],
)
def test_a_stream_that_tells_its_gaps_is_right(seen: list[int]) -> None:
    assert list(find_untold(seen)) == []


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ([4, 6], "6 came after 4 without a gap"),
        ([4, EPOCH + 1], f"{EPOCH + 1} came after 4 without a gap"),
        ([EPOCH, EPOCH + EPOCH // 2], f"{EPOCH + EPOCH // 2} came after {EPOCH} without a gap"),
        ([4, 4], "4 came after 4"),
        ([4, GAP, 4], "4 came after 4"),
        ([4, 5, GAP, 3], "3 came after 5"),
    ],
)
def test_a_gap_that_is_not_told_and_a_repeat_are_found(seen: list[int], fault: str) -> None:
    assert list(find_untold(seen)) == [fault]


@pytest.mark.parametrize(
    ("seen", "faults"),
    [
        ([0, 1, 2], []),
        ([0, GAP, 1, 2], []),
        ([0, 2], ["1 of 3 numbers are missing, the first is 1"]),
        ([0, GAP, 2], ["1 of 3 numbers are missing, the first is 1"]),
        ([0, 1], ["1 of 3 numbers are missing, the first is 2"]),
        ([0, 1, 1, 2], ["1 came after 1"]),
        ([1, 0, 2], ["0 came after 1"]),
    ],
)
def test_a_number_that_a_stored_stream_left_out_is_found(seen: list[int], faults: list[str]) -> None:
    assert list(find_missing(seen, 3)) == faults


@pytest.mark.parametrize(("after", "is_right"), [(100, True), (104.9, True), (95.1, True), (106, False), (94, False)])
def test_a_figure_that_drifts_is_found(after: float, is_right: bool) -> None:
    assert bool(list(find_drift("files", 100, after))) is not is_right


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ('{"event":"routes-refused","level":"error"}', True),
        ('{"slug":"connection-lost","event":"exchange"}', True),
        ("Traceback (most recent call last):", False),
        ('{"event":"uncaught","exception":"ValueError"}', False),
        ('{"slug":"internal","event":"exchange"}', False),
        ("panic: runtime error", False),
    ],
)
def test_a_traceback_in_a_log_is_found(line: str, is_right: bool) -> None:
    assert bool(list(find_bad_words("log", ["fine", line]))) is not is_right


def test_a_ledger_counts_answers_and_keeps_the_first_wrong_ones() -> None:
    ledger = Ledger()
    assert [ledger.begin(), ledger.begin()] == [0, 1]
    ledger.note(1, LOST)
    ledger.count(LOST, gateway="one", late=-0.5, path="/a")
    ledger.count(STORED, gateway="one", late=0.1, path="/b")
    assert list(ledger.claims) == [Claim.NOTHING, Claim.UNKNOWN]
    assert ledger.counts == {"connection-lost (unknown)": 1, "201": 1}
    assert (ledger.by_gateway, ledger.latest) == ({"one": 2}, (0.1, "201 for /b"))
    for number in range(MOST_NOTED + 5):
        ledger.blame(str(number))
    assert (len(ledger.wrong), ledger.wrong_count) == (MOST_NOTED, MOST_NOTED + 5)
