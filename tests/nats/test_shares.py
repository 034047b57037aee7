import pytest

from app.nats.shares import ALL, Callers, Share, choose_share


def fill(share: Share, others: int, cap: int) -> int:
    """How many requests a route comes to where others have so many in flight."""
    share.count = 0
    while (free := cap - others - share.count) > 0 and not share.is_full(free):
        share.count += 1
    return share.count


@pytest.mark.parametrize(
    ("others", "most"),
    [(0, 50), (1, 49), (50, 25), (75, 12), (97, 1), (98, 1), (99, 1), (100, 0)],
)
def test_a_route_takes_half_of_what_others_leave_and_at_least_one(others: int, most: int) -> None:
    assert fill(Share(None), others, cap=100) == most


def test_a_route_with_a_maximum_takes_that_many_and_no_more_than_there_are() -> None:
    assert fill(Share(80), 0, cap=100) == 80
    assert fill(Share(80), 90, cap=100) == 10
    assert fill(Share(ALL), 0, cap=100) == 100


@pytest.mark.parametrize(
    ("maximum", "is_alone", "chosen"), [(None, True, ALL), (None, False, None), (7, False, 7), (3, True, 3)]
)
def test_a_route_that_is_alone_may_have_all_and_others_half_unless_they_say(
    maximum: int | None, is_alone: bool, chosen: int | None
) -> None:
    assert choose_share(maximum, is_alone=is_alone, before=None).maximum == chosen


def test_a_route_that_stays_keeps_its_count_and_gets_its_new_maximum() -> None:
    before = choose_share(5, is_alone=False, before=None)
    before.count = 4
    after = choose_share(2, is_alone=False, before=before)
    assert after is before
    assert (after.count, after.maximum) == (4, 2)


def test_callers_are_kept_only_while_they_have_requests() -> None:
    callers = Callers(2)
    for _ in range(2):
        assert callers.has_room("192.0.2.1")
        callers.begin("192.0.2.1")
    assert not callers.has_room("192.0.2.1")
    assert callers.has_room("192.0.2.2")
    callers.end("192.0.2.1")
    assert callers.has_room("192.0.2.1")
    callers.end("192.0.2.1")
    assert len(callers) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "testserver", False),
    ],
)
def test_addresses_of_one_caller_count_as_one(one: str, other: str, same: bool) -> None:
    callers = Callers(1)
    callers.begin(one)
    assert callers.has_room(other) != same
    callers.end(one)
    assert len(callers) == 0


def test_what_has_no_address_is_not_bounded() -> None:
    callers = Callers(1)
    for _ in range(3):
        assert callers.has_room(None)
        callers.begin(None)
    callers.end(None)
    assert len(callers) == 0
