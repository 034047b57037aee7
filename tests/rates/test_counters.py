import pytest

from app.edge.buckets import MAX_CALLERS, MAX_IN_ALL, Limit
from app.edge.rate_limit import Counter
from app.rates.counters import Counters


def make_counter(name: str, average: int = 1) -> Counter:
    return Counter(Limit(name, average, 60.0, 1, "ip"))


def test_a_limit_that_is_the_same_goes_on_counting_and_another_begins() -> None:
    counters = Counters()
    before, same, other = make_counter("a"), make_counter("a"), make_counter("a", average=2)
    counters.use([before])
    before.buckets.take("caller", 0.0)
    counters.use([same])
    assert same.buckets is before.buckets
    counters.use([other])
    assert len(other.buckets) == 0


def test_what_no_file_has_any_more_is_forgotten() -> None:
    counters = Counters()
    for served in ([make_counter("a")], [], [later := make_counter("a")]):
        counters.use(served)
        for counter in served:
            counter.buckets.take("caller", 0.0)
    assert later.buckets.take("caller", 0.0) < 0
    assert len(later.buckets) == 1


@pytest.mark.parametrize(("number", "share"), [(1, MAX_CALLERS), (2, MAX_CALLERS), (4, MAX_IN_ALL // 4)])
def test_all_limits_together_keep_a_bounded_number_of_callers(number: int, share: int) -> None:
    served = [make_counter(str(index)) for index in range(number)]
    Counters().use(served)
    assert {counter.buckets.most for counter in served} == {share}
