import time

import pytest

from app.http.handshakes import HANDSHAKE_TIMEOUT, MAX_BEGUN, ROOM, Handshakes


@pytest.fixture
def lane() -> None:
    """No gateway runs here."""


class Shaking:
    """Notes its end."""

    def __init__(self, opened_at: float = 0.0) -> None:
        self.opened_at = opened_at
        self.is_ended = False

    def abort(self) -> None:
        self.is_ended = True


def open_many(handshakes: Handshakes, count: int, *, maximum: int) -> list[Shaking]:
    opened = [Shaking(float(number)) for number in range(count)]
    for one in opened:
        handshakes.open(one, excess=lambda: len(handshakes) - maximum)
    return opened


def test_over_the_cap_the_oldest_makes_room() -> None:
    handshakes = Handshakes()
    opened = open_many(handshakes, ROOM + 10, maximum=7)
    assert [one.is_ended for one in opened] == [True] * 3 + [False] * (ROOM + 7)


def test_a_few_may_shake_hands_though_all_places_are_taken() -> None:
    handshakes = Handshakes()
    opened = open_many(handshakes, ROOM + 1, maximum=0)
    assert [one.is_ended for one in opened] == [True] + [False] * ROOM


def test_who_waits_for_the_gateway_makes_no_room() -> None:
    handshakes = Handshakes()
    opened = open_many(handshakes, ROOM, maximum=0)
    for one in opened[:-1]:
        handshakes.note_waiting(one)
    more = open_many(handshakes, 2, maximum=0)
    assert not any(one.is_ended for one in opened[:-1])
    assert sum(one.is_ended for one in (opened[-1], *more)) == 2


def test_those_that_wait_for_the_gateway_leave_room_to_a_caller_who_is_about_to_answer() -> None:
    handshakes = Handshakes()
    for one in open_many(handshakes, ROOM, maximum=ROOM):
        handshakes.note_waiting(one)
    first, *others = open_many(handshakes, ROOM, maximum=ROOM)
    assert not any(one.is_ended for one in (first, *others))
    open_many(handshakes, 1, maximum=ROOM)
    assert first.is_ended


def test_of_those_that_have_begun_the_oldest_makes_room_for_one_too_many() -> None:
    handshakes = Handshakes()
    opened = open_many(handshakes, MAX_BEGUN + 2, maximum=10_000)
    for one in opened:
        handshakes.note_begun(one)
    handshakes.note_begun(opened[2])
    assert [one.is_ended for one in opened] == [True] * 2 + [False] * MAX_BEGUN


def test_who_takes_too_long_is_ended_but_not_who_waits_for_the_gateway() -> None:
    handshakes = Handshakes()
    now = time.monotonic()
    silent, begun, waiting, young = (Shaking(now - HANDSHAKE_TIMEOUT - 1) for _ in range(4))
    young.opened_at = now - HANDSHAKE_TIMEOUT + 1
    for one in (silent, begun, waiting, young):
        handshakes.open(one, excess=lambda: 0)
    handshakes.note_begun(begun)
    handshakes.note_waiting(waiting)
    handshakes.check(now)
    assert [one.is_ended for one in (silent, begun, waiting, young)] == [True, True, False, False]
    handshakes.abort_all()
    assert waiting.is_ended
    assert young.is_ended
    assert not len(handshakes)
