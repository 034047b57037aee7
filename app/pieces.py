"""Long work in short steps: a generator that yields after each, and returns what it has made."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

PIECE = 0.002  # seconds of work at a time beside an event loop

_T = TypeVar("_T")
Steps = Generator[None, None, _T]


def run_at_once(steps: Steps[_T]) -> _T:
    """All steps, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


async def run_in_pieces(steps: Steps[_T]) -> _T:
    """All steps, for PIECE seconds at a time, in which others wait, and then a pause for others that is as long. No
    step begins once the caller is cancelled."""
    end = time.monotonic() + PIECE
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: _T = stop.value
            return result
        if time.monotonic() >= end:
            await asyncio.sleep(PIECE)
            end = time.monotonic() + PIECE
