"""Which failures become records, and that the rest is counted: with a clock and a timer that a test moves."""

from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from app.observe.storm import LINES, MAX_TALLIES, SECOND, Storm, Summary

OF_GREET = ("greet", "no-responders")


class Time:
    """A clock and its timers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.summaries: list[Summary] = []
        self.storm = Storm(self._start, (self.summaries.append,), clock=lambda: self.now)

    def _start(self, seconds: float, callback: Callable[[], None]) -> "Timer":
        self.timers.append((self.now + seconds, callback))
        return Timer(self)

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for instant, callback in self.timers if instant <= self.now]
        self.timers = [(instant, callback) for instant, callback in self.timers if instant > self.now]
        for callback in due:
            callback()

    def fail(self, count: int, route: str | None = "greet", slug: str = "no-responders") -> int:
        """How many of so many failures are admitted."""
        return sum(self.storm.admits(route, slug) for _ in range(count))


class Timer:
    def __init__(self, time: Time) -> None:
        self._time = time

    def cancel(self) -> None:
        self._time.timers.clear()


def test_few_failures_are_all_records_and_nothing_is_summed_up() -> None:
    time = Time()
    for _ in range(5):
        assert time.fail(LINES) == LINES
        time.move(SECOND)
    assert time.summaries == []


def test_of_a_storm_each_second_has_ten_records_and_one_summary_with_the_instant_of_the_first_left_out() -> None:
    time = Time()
    for second in range(3):
        assert time.fail(LINES) == LINES
        time.move(0.25)
        assert time.fail(990) == 0
        time.move(0.75)
        assert time.summaries[second:] == [Summary(*OF_GREET, 990, 1000.25 + second)]


def test_a_route_in_a_storm_takes_no_record_from_another_route_or_failure() -> None:
    time = Time()
    time.fail(1000)
    assert time.fail(1, route="orders") == 1
    assert time.fail(1, route=None) == 1
    assert time.fail(1, slug="timeout") == 1
    time.move(SECOND)
    assert [summary.count for summary in time.summaries] == [990]


def test_the_last_count_comes_out_when_the_storm_has_ended_and_no_timer_goes_on() -> None:
    time = Time()
    time.fail(11)
    time.move(SECOND)
    assert time.summaries == [Summary(*OF_GREET, 1, 1000.0)]
    assert time.timers == []


def test_at_the_stop_the_last_count_comes_out_at_once_and_only_once() -> None:
    time = Time()
    time.fail(100)
    time.storm.sum_up()
    assert time.summaries == [Summary(*OF_GREET, 90, 1000.0)]
    time.storm.sum_up()
    time.move(SECOND)
    assert len(time.summaries) == 1
    time.fail(11)  # it goes on working
    time.move(SECOND)
    assert len(time.summaries) == 2


def test_more_routes_than_it_tells_apart_are_counted_together() -> None:
    time = Time()
    admitted = sum(time.fail(11, route=str(number)) for number in range(2 * MAX_TALLIES))
    assert len(time.storm._tallies) == MAX_TALLIES + 1
    time.move(SECOND)
    assert time.summaries[-1].route is None
    assert admitted + sum(summary.count for summary in time.summaries) == 22 * MAX_TALLIES


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "a", "b"]),
            st.sampled_from(["x", "y"]),
            st.integers(1, 30),
            st.sampled_from([0, 0.4, 1]),
        )
    )
)
def test_records_and_summaries_together_are_all_failures(bursts: list[tuple[str | None, str, int, float]]) -> None:
    time = Time()
    failed: Counter[tuple[str | None, str]] = Counter()
    seen: Counter[tuple[str | None, str]] = Counter()
    for route, slug, count, pause in bursts:
        failed[route, slug] += count
        seen[route, slug] += time.fail(count, route, slug)
        time.move(pause)
    time.storm.sum_up()
    for summary in time.summaries:
        seen[summary.route, summary.slug] += summary.count
    assert seen == failed
