import asyncio
import time

from app.deadlines import TICK, Deadlines
from tests.harness import eventually

TURNS = 100  # of a loop that a machine has held up for longer than TURN, once for each of the waits


class Wait:
    def __init__(self) -> None:
        self.expired_at: float | None = None
        self.seen_in_time = False

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = time.monotonic()

    def look(self, turns: int = TURNS) -> None:
        """Whether it has expired by now, or does so within these turns of the loop."""
        self.seen_in_time = self.expired_at is not None
        if turns and not self.seen_in_time:
            asyncio.get_running_loop().call_soon(self.look, turns - 1)


async def test_each_wait_expires_once_at_its_deadline_and_never_before() -> None:
    deadlines = Deadlines()
    began = time.monotonic() + 0.1  # when all have been added
    waits = {began + number * 0.0037: Wait() for number in range(60)}
    for deadline, wait in waits.items():
        deadlines.add(deadline, wait)
        # However late the machine is, the loop runs timers in the order of their times.
        asyncio.get_running_loop().call_at(deadline + TICK + 0.008, wait.look)
    await asyncio.sleep(0.5)
    for deadline, wait in waits.items():
        assert wait.seen_in_time
        assert wait.expired_at is not None
        assert deadline <= wait.expired_at


async def test_a_deadline_that_has_passed_expires_in_a_later_turn() -> None:
    deadlines, wait = Deadlines(), Wait()
    deadlines.add(time.monotonic() - 0.03, wait)
    assert wait.expired_at is None
    await eventually(lambda: wait.expired_at)


async def test_a_wait_that_is_discarded_never_expires() -> None:
    deadlines = Deadlines()
    kept, gone = Wait(), Wait()
    deadline = time.monotonic() + 0.03
    deadlines.add(deadline, kept)
    timer = deadlines.add(deadline, gone)
    timer.discard(gone)
    await asyncio.sleep(0.1)
    assert kept.expired_at is not None
    assert gone.expired_at is None


async def test_a_wait_may_call_off_another_and_add_a_new_one_while_it_expires() -> None:
    deadlines = Deadlines()
    deadline = time.monotonic() + 0.02
    expired: list[str] = []

    class Rival:
        def __init__(self, name: str) -> None:
            self.name = name
            self.rivals: list[Rival] = []

        def expire(self) -> None:
            expired.append(self.name)
            for rival in self.rivals:
                timer.discard(rival)
            deadlines.add(time.monotonic(), late)

    late = Wait()
    one, other = Rival("one"), Rival("other")
    one.rivals, other.rivals = [other], [one]
    timer = deadlines.add(deadline, one)
    assert deadlines.add(deadline, other) is timer
    await eventually(lambda: late.expired_at)
    await asyncio.sleep(0.1)
    assert len(expired) == 1


async def test_many_waits_of_one_moment_share_a_timer() -> None:
    deadlines = Deadlines()
    deadline = time.monotonic() + 60
    assert len({id(deadlines.add(deadline, Wait())) for _ in range(1000)}) == 1
    assert len(deadlines._buckets) == 1
