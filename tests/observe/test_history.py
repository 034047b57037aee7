from typing import NamedTuple

import pytest

from app.observe.board import Board, Boards
from app.observe.counts import TIMES, Counts
from app.observe.history import STEP, STEPS, UNUSED, WINDOW, History, find_quantile
from app.pieces import run_at_once


class Answer(NamedTuple):
    route: str
    status: int
    reply_time: float | None = None


class Stage:
    """A history of two processes, and a clock that a test sets."""

    def __init__(self) -> None:
        self.boards = Boards(Board(), (Board(),))
        self.counts = [Counts(board) for board in self.boards.all]
        self.history = History(self.boards)
        self.now = 1000.0
        self.look(0.0)

    def look(self, seconds: float) -> None:
        self.now += seconds
        for counts in self.counts:
            counts.flush()
        run_at_once(self.history.sample(self.now))

    def answer(self, times: int, status: int = 200, *, route: str = "greet", took: float = 0.001) -> None:
        for number in range(times):
            counts = self.counts[number % 2]
            reply = took if status == 200 else None
            counts.add(Answer(route, status, reply), "GET", took, 0, 0)
            if status == 503:
                counts.add_problem(route, "no-responders", "no")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_rate_is_that_of_all_processes_over_the_last_seconds(stage: Stage) -> None:
    for _ in range(4):
        stage.answer(50)
        stage.look(STEP)
    assert stage.history.describe("greet").rate == pytest.approx(10)
    assert stage.history.describe_all().rate == pytest.approx(10)
    for _ in range(3):
        stage.look(STEP)
    assert stage.history.describe("greet").rate == 0


def test_shares_and_times_are_those_of_the_last_minute(stage: Stage) -> None:
    stage.answer(90)
    stage.answer(6, 503)
    stage.answer(4, 422)
    stage.look(1.0)
    state = stage.history.describe("greet")
    assert (state.failing, state.refused, state.slug) == (0.06, 0.04, "no-responders")
    assert state.p50 == pytest.approx(0.00075, rel=0.1)
    for _ in range(WINDOW + 2):
        stage.look(STEP)
    state = stage.history.describe("greet")
    assert (state.failing, state.p50, state.slug) == (0, None, None)


def test_a_page_that_says_503_is_no_failure_and_a_problem_of_no_route_is_one(stage: Stage) -> None:
    for counts in stage.counts:
        counts.add(Answer("", 503), "GET", 0.001, 0, 0)  # /readyz before NATS is connected
    stage.answer(10)
    stage.look(1.0)
    assert stage.history.describe_all().failing == 0
    stage.answer(10, 503, route="")
    stage.look(1.0)
    assert stage.history.describe_all().failing == 0.5


def test_a_spark_has_all_steps_and_the_newest_is_the_last(stage: Stage) -> None:
    stage.answer(5)
    stage.look(STEP)
    stage.answer(10)
    stage.look(STEP)
    spark = stage.history.describe("greet").spark
    assert (len(spark), spark[-2:], set(spark[:-2])) == (STEPS, [1, 2], {0})
    for _ in range(STEPS + 5):
        stage.look(STEP)
    assert stage.history.describe("greet").spark == ()


def test_a_route_is_answered_until_nobody_is_there(stage: Stage) -> None:
    assert stage.history.describe("greet") is UNUSED
    stage.answer(2)
    stage.look(1.0)
    assert stage.history.describe("greet").answered is True
    stage.look(STEP)
    stage.answer(1, 503)
    stage.look(1.0)
    assert stage.history.describe("greet").answered is False
    stage.look(STEP * 20)
    assert stage.history.describe("greet").answered is False, "nothing has changed"
    stage.answer(1)
    stage.look(1.0)
    assert stage.history.describe("greet").answered is True


def test_what_was_counted_before_the_first_look_is_no_burst() -> None:
    boards = Boards(Board())
    counts = Counts(boards.own)
    for _ in range(1000):
        counts.add(Answer("greet", 503), "GET", 0.001, 0, 0)
        counts.add_problem("greet", "no-responders", "no")
    counts.flush()
    history = History(boards)
    run_at_once(history.sample(1.0))
    run_at_once(history.sample(1.0 + STEP))
    state = history.describe("greet")
    assert (state.rate, state.failing, state.slug, state.spark) == (0, 0, None, ())


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        ([0] * (len(TIMES) + 1), 0.5, None),
        ([10] + [0] * len(TIMES), 0.5, 0.00025),
        ([0, 4] + [0] * (len(TIMES) - 1), 0.5, 0.00075),
        ([0] * len(TIMES) + [3], 0.99, 30.0),
        ([1] + [0] * (len(TIMES) - 1) + [1], 0.5, 0.0005),
    ],
)
def test_a_quantile_is_spread_evenly_within_its_bucket(buckets: list[int], share: float, seconds: float | None) -> None:
    assert find_quantile(buckets, share) == (None if seconds is None else pytest.approx(seconds))
