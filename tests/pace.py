"""The pace of this machine, for tests that limit time: some machines take seven times as long for the same work.

`python -m tests.pace` prints how many times, as a whole number.
"""

import time

_USUAL = 0.015
"""Seconds of CPU for the work below, on the machine on which the limits were chosen."""


def find_slowness() -> float:
    """How many times as long as there the same work takes here, just now. At least 1."""
    began = time.process_time()
    sum(number * number for number in range(200_000))
    return max(1.0, (time.process_time() - began) / _USUAL)


SLOWNESS = min(find_slowness() for _ in range(3))
"""The same when this process began to look, for limits of whole tests."""


if __name__ == "__main__":
    print(round(min(find_slowness() for _ in range(5))))
