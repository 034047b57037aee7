from functools import partial
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from app.observe.board import Board, Boards
from app.observe.counts import (
    FIELDS,
    MOST_LISTS,
    MOST_WAITING,
    OTHER_METHOD,
    RESPONSES,
    SIZES,
    TIMES,
    Counts,
    sum_blocks,
)
from app.observe.gauges import GAUGES, Ask, Reporter
from app.observe.prometheus import FORMS, OPENMETRICS, TEXT, Form, choose_form, write_metrics
from app.pieces import run_at_once


class Answer(NamedTuple):
    route: str | None
    status: int
    reply_time: float | None = None


def read(boards: Boards, form: Form = TEXT) -> dict[tuple[str, ...], float]:
    """Samples by name and values of labels."""
    text = run_at_once(write_metrics(boards, form, about={"version": "1"})).decode()
    parse = read_text if form is TEXT else read_openmetrics
    families = list(parse(text))
    assert len({family.name for family in families}) == len(families), "each family stands once"
    return {
        (sample.name.removeprefix("nats_http_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("form", FORMS)
def test_what_was_counted_is_what_prometheus_reads(form: Form) -> None:
    boards = Boards(Board())
    counts = Counts(boards.own)
    for duration, reply_time in ((0.0004, None), (0.0005, 0.0003), (0.00051, 0.0003), (45.0, 31.0)):
        counts.add(Answer("greet", 200, reply_time), "GET", duration, 0, 1025)
    counts.add(Answer("greet", 503), "POST", 0.001, 10, 1024)
    counts.add(Answer(None, 404), "GET", 0.001, 0, 0)
    counts.add_problem("greet", "no-responders", "no")
    counts.flush()
    samples = read(boards, form)
    assert samples["requests_total", "200", "GET", "greet"] == 4
    assert samples["requests_total", "503", "POST", "greet"] == 1
    assert samples["requests_total", "404", "GET", ""] == 1
    assert samples["request_duration_seconds_count", "greet"] == 5
    assert samples["request_duration_seconds_bucket", "0.0005", "greet"] == 2, "a bound belongs to its bucket"
    assert samples["request_duration_seconds_bucket", "30.0", "greet"] == 4
    assert samples["request_duration_seconds_bucket", "+Inf", "greet"] == 5
    assert samples["request_duration_seconds_sum", "greet"] == pytest.approx(45.00241)
    assert samples["upstream_duration_seconds_count", "greet"] == 3
    assert ("upstream_duration_seconds_count", "") not in samples, "nothing was asked of a service"
    assert samples["request_size_bytes_sum", "greet"] == 10
    assert samples["response_size_bytes_bucket", "1024.0", "greet"] == 1
    assert samples["response_size_bytes_sum", "greet"] == 4 * 1025 + 1024
    assert samples["problems_total", "no", "greet", "no-responders"] == 1


def test_callers_can_not_make_up_labels() -> None:
    boards = Boards(Board())
    counts = Counts(boards.own)
    for number in range(1000):
        counts.add(Answer(None, 405), f"X-{number}", 0.001, 0, 0)
    counts.flush()
    assert read(boards)["requests_total", "405", OTHER_METHOD, ""] == 1000
    assert len(counts._waiting) == 1


def test_what_waits_to_be_counted_has_a_bound() -> None:
    """Also where nobody flushes, and a service answers with every status that there is."""
    boards = Boards(Board())
    counts = Counts(boards.own)
    for number in range(MOST_LISTS + 10):
        counts.add(Answer(f"route-{number % 100}", 100 + number // 100), "GET", 0.001, 0, 0)
        assert len(counts._waiting) <= MOST_LISTS
    for _ in range(MOST_WAITING + 1):
        counts.add(Answer("greet", 200), "GET", 0.001, 0, 0)
    assert sum(map(len, counts._waiting.values())) <= MOST_WAITING + MOST_LISTS * FIELDS
    counts.flush()
    found = boards.find(RESPONSES).values()
    assert sum(sum_blocks(blocks).responses for blocks in found) == MOST_LISTS + MOST_WAITING + 11


@given(
    st.lists(st.tuples(st.floats(0, 60), st.none() | st.floats(0, 60), st.integers(0, 2**26), st.integers(0, 2**26)))
)
def test_all_at_once_are_counted_as_one_by_one(responses: list[tuple[float, float | None, int, int]]) -> None:
    at_once, one_by_one = Boards(Board()), Boards(Board())
    for boards in (at_once, one_by_one):
        counts = Counts(boards.own)
        for duration, reply_time, bytes_in, bytes_out in responses:
            counts.add(Answer("greet", 200, reply_time), "GET", duration, bytes_in, bytes_out)
            if boards is one_by_one:
                counts.flush()
        counts.flush()
    assert read(at_once) == pytest.approx(read(one_by_one))


def test_responses_that_find_no_room_are_counted_together() -> None:
    boards = Boards(Board())
    counts = Counts(boards.own)
    boards.own._next = len(boards.own.cells) - 10
    counts.add(Answer("late", 200), "GET", 0.001, 0, 0)
    counts.add_problem("late", "timeout", "unknown")
    counts.flush()
    samples = read(boards)
    assert samples["requests_total", "", OTHER_METHOD, ""] == 1


def test_a_large_family_comes_in_parts_and_is_read_as_one() -> None:
    boards = Boards(Board())
    counts = Counts(boards.own)
    for number in range(100):
        counts.add(Answer(f"route-{number}", 200, 0.001), "GET", 0.001, 0, 0)
    counts.flush()
    for form in FORMS:
        samples = read(boards, form)
        assert [samples["request_duration_seconds_count", f"route-{number}"] for number in range(100)] == [1] * 100


def test_counters_add_up_over_processes_and_gauges_as_their_meaning_asks() -> None:
    boards = Boards(Board(), (Board(), Board()))
    for board, connected, trip in zip(boards.all, (1.0, 0.0, 1.0), (0.001, None, 0.002), strict=True):
        counts = Counts(board)
        counts.add(Answer("greet", 200, 0.001), "GET", 0.001, 0, 0)
        counts.flush()
        gauges: dict[str, Ask] = {
            "requests_in_flight": lambda: 2.0,
            "nats_connected": partial(float, connected),
            "nats_round_trip_seconds": partial(dict[int, float | None]({0: trip}).get, 0),
        }
        Reporter(board, gauges=gauges, counters={"nats_reconnects": lambda: 3.0}).report()
    samples = read(boards)
    assert samples["requests_total", "200", "GET", "greet"] == 3
    assert samples["requests_in_flight",] == 6
    assert samples["nats_connected",] == 0
    assert samples["nats_round_trip_seconds",] == 0.002
    assert samples["nats_reconnects_total",] == 9
    assert ("open_connections",) not in samples, "nobody knows it"


def test_a_dead_process_takes_its_gauges_with_it_and_leaves_its_counters() -> None:
    boards = Boards(Board(), (Board(),))
    reporters = [
        Reporter(board, gauges={"requests_in_flight": lambda: 2.0}, counters={"nats_reconnects": lambda: 3.0})
        for board in boards.all
    ]
    for reporter in reporters:
        reporter.report()
    reporters[1].leave()
    samples = read(boards)
    assert (samples["requests_in_flight",], samples["nats_reconnects_total",]) == (2, 6)
    successor = Reporter(boards.all[1], gauges={}, counters={"nats_reconnects": lambda: 1.0})
    successor.report()
    assert read(boards)["nats_reconnects_total",] == 7


def test_each_gauge_has_words_and_each_histogram_its_bounds() -> None:
    assert all(gauge.help.endswith(".") for gauge in GAUGES.values())
    assert (TIMES[0], TIMES[-1], list(TIMES)) == (0.0005, 30.0, sorted(TIMES))
    assert list(SIZES) == sorted(SIZES)


def test_a_sum_of_blocks_has_all_responses() -> None:
    boards = Boards(Board(), (Board(),))
    for board in boards.all:
        counts = Counts(board)
        counts.add(Answer("greet", 200, None), "GET", 0.001, 5, 7)
        counts.flush()
    [blocks] = [found for labels, found in boards.find(RESPONSES).items() if labels[0] == "greet"]
    totals = sum_blocks(blocks)
    assert (totals.responses, totals.bytes_in.sum, totals.bytes_out.sum) == (2, 10, 14)


def test_openmetrics_is_for_who_names_it() -> None:
    assert choose_form("") is TEXT
    assert choose_form("*/*") is TEXT
    assert choose_form("text/html") is TEXT
    assert choose_form("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5") is OPENMETRICS
