"""The pace of this machine, for tests that limit CPU time: some machines take seven times as long for the same work."""

import time

_USUAL = 0.015
"""Seconds of CPU for the work below, on the machine on which the limits were chosen."""


def find_slowness() -> float:
    """How many times as long as there the same work takes here, just now. At least 1."""
    began = time.process_time()
    sum(number * number for number in range(200_000))
    return max(1.0, (time.process_time() - began) / _USUAL)
