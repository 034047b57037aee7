"""Runs long work in short steps. The work is a generator that yields after each step, and returns its result."""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

PIECE = 0.002  # seconds of work in one turn of the event loop

_T = TypeVar("_T")
Steps = Generator[None, None, _T]


def run_at_once(steps: Steps[_T]) -> _T:
    """Run all steps without a pause. Returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


async def run_in_pieces(steps: Steps[_T]) -> _T:
    """Run all steps: work for PIECE seconds, then leave the event loop to others for as long, and so on. Returns the
    result. After a cancellation no further step begins."""
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
