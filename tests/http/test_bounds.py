import asyncio
import time
from collections import Counter

import pytest

from app.http.bounds import Bounds, Pot, Turns, Unread


@pytest.fixture
def lane() -> None:
    """No gateway runs here."""


class Connection:
    """Notes what is done with it."""

    def __init__(self, *, idle_since: float | None = None, answered_since: float | None = None) -> None:
        self.is_idle = idle_since is not None
        self.is_answered = answered_since is not None
        self.seen_at = idle_since or answered_since or 0.0
        self.done: Counter[str] = Counter()

    def check(self, now: float) -> None:
        assert now <= time.monotonic()
        self.done["checked"] += 1

    def leave(self) -> None:
        self.is_idle = self.is_answered = False
        self.done["left"] += 1

    def cut_off(self) -> None:
        self.done["cut off"] += 1


def make_bounds() -> Bounds:
    return Bounds(maximum=10, body_timeout=31, max_buffered=100)


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (7, 1), (5000, 500), (5003, 501)])
def test_each_tick_looks_at_a_part_and_each_round_at_everybody_once(count: int, most: int) -> None:
    bounds = make_bounds()
    connections = [Connection() for _ in range(count)]
    looked = 0
    for _ in range(10):
        bounds.check(connections, parts=10)
        seen = sum(connection.done["checked"] for connection in connections)
        assert seen - looked <= most
        looked = seen
        if looked == count:
            break
    assert all(connection.done["checked"] == 1 for connection in connections)


def test_room_is_made_by_who_was_idle_for_longest_then_by_who_has_its_answer() -> None:
    bounds = make_bounds()
    idle = [Connection(idle_since=since) for since in (3.0, 1.0, 2.0)]
    answered = [Connection(answered_since=since) for since in (0.2, 0.1)]
    busy = Connection()
    everybody = [*answered, busy, *idle]
    bounds.check(everybody, parts=1)
    order = [idle[1], idle[2], idle[0], answered[1], answered[0]]
    for expected in order:
        assert bounds.make_room(())
        assert [connection for connection in everybody if connection.done["left"]] == [
            connection for connection in everybody if connection in order[: order.index(expected) + 1]
        ]
    assert not bounds.make_room(())
    assert not busy.done["left"]


def test_who_is_at_work_again_makes_no_room() -> None:
    bounds = make_bounds()
    first, second = Connection(idle_since=1.0), Connection(idle_since=2.0)
    bounds.check([first, second], parts=1)
    first.is_idle = False
    assert bounds.make_room(())
    assert (first.done["left"], second.done["left"]) == (0, 1)


def test_a_pot_takes_no_more_than_it_holds() -> None:
    pot = Pot(10)
    assert [pot.take(size) for size in (6, 5, 4, 1)] == [True, False, True, False]
    pot.give_back(10)
    assert pot.take(10)


def test_who_leaves_responses_unread_for_longest_is_cut_off_first() -> None:
    unread = Unread(100)
    first, second, third = Connection(), Connection(), Connection()
    unread.note(first, 40)
    unread.note(second, 40)
    unread.note(first, 50)  # still the same response
    assert not first.done
    unread.note(third, 20)
    assert (first.done["cut off"], second.done["cut off"], third.done["cut off"]) == (1, 0, 0)
    unread.note(second, 0)
    unread.note(second, 70)  # now the third one has left some unread for longest
    unread.note(Connection(), 20)
    assert (second.done["cut off"], third.done["cut off"]) == (0, 1)


async def test_those_that_are_dear_to_read_take_turns() -> None:
    turns = Turns()
    order: list[str] = []

    class Reading:
        def __init__(self, name: str) -> None:
            self.name = name
            self.left = 3

        def go_on(self) -> None:
            order.append(self.name)
            turns.spend(1.0)  # more than a turn may take
            self.left -= 1
            if self.left:
                turns.wait(self.go_on)

    readings = [Reading(name) for name in "abc"]
    for reading in readings:
        turns.wait(reading.go_on)
    for count in range(1, 10):
        await asyncio.sleep(0)
        assert len(order) == count
    assert "".join(order) == "abc" * 3
    await asyncio.sleep(0)
    assert not turns.is_used_up
