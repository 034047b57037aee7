import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.buckets import MAX_CALLERS, Buckets, Limit

SLOW = Limit("slow", average=10, period=1.0, burst=3, by="ip")


def count_taken(buckets: Buckets, key: str, now: float, tries: int) -> int:
    return sum(buckets.take(key, now) >= 0 for _ in range(tries))


def test_a_burst_is_taken_at_once_and_then_as_many_as_the_average() -> None:
    buckets = Buckets(SLOW)
    assert [buckets.take("a", 100.0) for _ in range(3)] == pytest.approx([2, 1, 0])
    assert buckets.take("a", 100.0) == pytest.approx(-1)
    assert buckets.take("a", 100.05) == pytest.approx(-0.5)
    assert count_taken(buckets, "a", 100.1, 5) == 1
    assert count_taken(buckets, "a", 200.0, 5) == 3


def test_who_goes_on_asking_waits_no_longer_and_others_do_not_wait() -> None:
    buckets = Buckets(SLOW)
    assert count_taken(buckets, "a", 0.0, 1000) == 3
    assert count_taken(buckets, "b", 0.0, 1000) == 3
    assert buckets.take("a", 0.1) >= 0


@given(
    average=st.integers(1, 1_000_000),
    period=st.sampled_from([0.001, 0.5, 1.0, 60.0, 86400.0]),
    burst=st.integers(1, 300),
    now=st.floats(0, 1e7),
)
def test_a_full_bucket_has_exactly_its_burst(average: int, period: float, burst: int, now: float) -> None:
    limit = Limit("x", average, min(period, average * 10), burst, "ip")
    if limit.rate <= 1000:  # above, one comes back while the clock shows the same instant
        assert count_taken(Buckets(limit), "a", now, burst + 1) == burst


@given(gaps=st.lists(st.floats(0, 0.3), max_size=200))
def test_never_more_than_the_burst_and_what_has_come_since(gaps: list[float]) -> None:
    buckets, now, taken = Buckets(SLOW), 1000.0, 0
    for gap in gaps:
        now += gap
        taken += buckets.take("a", now) >= 0
        assert taken <= 3 + (now - 1000) * 10 + 0.01


def test_buckets_that_are_full_again_are_forgotten() -> None:
    buckets = Buckets(SLOW)
    for number in range(1000):
        buckets.take(str(number), number)
    assert len(buckets) <= 2


def test_beyond_the_bound_the_caller_is_forgotten_who_has_not_called_for_longest() -> None:
    buckets = Buckets(SLOW, most=2)
    assert count_taken(buckets, "a", 0.0, 3) == 3
    assert count_taken(buckets, "b", 0.0, 3) == 3
    assert count_taken(buckets, "a", 0.0, 1) == 0
    assert count_taken(buckets, "c", 0.0, 3) == 3
    assert len(buckets) == 2
    assert count_taken(buckets, "a", 0.0, 1) == 0
    assert count_taken(buckets, "b", 0.0, 3) == 3


def test_a_bound_that_is_lowered_is_kept_soon() -> None:
    buckets = Buckets(SLOW)
    for number in range(100):
        buckets.take(str(number), 0.0)
    buckets.most = 10
    for number in range(100, 200):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 10


@pytest.mark.soak
def test_callers_without_end_take_a_bounded_memory() -> None:
    buckets = Buckets(Limit("x", 1, 86400.0, 1, "ip"))
    tracemalloc.start()
    try:
        for number in range(3 * MAX_CALLERS):
            buckets.take(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64", 0.0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(buckets) == MAX_CALLERS
    assert most < 20 * 1024 * 1024
