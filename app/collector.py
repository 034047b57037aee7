"""The garbage collector, while many objects are made that live on: to look through them again and again would find
nothing, and takes half of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 100_000  # objects
NEVER = 2**31 - 1


@contextmanager
def collector_off() -> Iterator[None]:
    """No collection in this block, for a process that does nothing else. Where the objects have become many they are
    taken out of the collector's sight for good."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MANY:
            gc.freeze()
        if was_on:
            gc.enable()


@contextmanager
def only_young_collections() -> Iterator[None]:
    """No full collection in this block, whose pause would grow with all that lives; what requests leave behind in the
    meantime is collected in the short ones."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def freeze_young() -> None:
    """Take what has been made out of the collector's sight, in a time that does not grow with it."""
    gc.collect(1)
    gc.freeze()
