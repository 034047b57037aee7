"""Each event happens in time, however long a soak is."""

from itertools import pairwise

import pytest

from tests.soak.plan import Event, plan, split


@pytest.mark.parametrize(("minutes", "parts", "seconds"), [(3, 6, 30), (10, 6, 100), (60, 12, 300), (120, 12, 600)])
def test_a_run_has_parts_of_the_same_length(minutes: float, parts: int, seconds: float) -> None:
    assert split(minutes) == (parts, seconds)


def test_a_run_in_which_not_each_event_could_happen_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 minutes"):
        split(2.9)


@pytest.mark.parametrize("seconds", [30, 100, 300, 600])
def test_each_part_has_each_event_in_order(seconds: float) -> None:
    steps = plan(seconds)
    assert {step.event for step in steps} == set(Event)
    assert all(before.at < after.at for before, after in pairwise(steps))
    assert 0 < steps[0].at < steps[-1].at < seconds


def test_an_hour_has_a_reload_each_minute_and_a_new_gateway_each_five_minutes() -> None:
    steps = plan(split(60)[1])
    times = {event: [step.at for step in steps if step.event is event] for event in Event}
    assert {event: len(found) for event, found in times.items()} == {
        Event.KILL: 5,
        Event.RELOAD: 5,
        Event.REFUSE: 5,
        Event.REPLACE: 1,
    }
    assert all(after - before == pytest.approx(60) for before, after in pairwise(times[Event.RELOAD]))
