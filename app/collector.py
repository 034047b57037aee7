"""Controls the garbage collector while many lasting objects are made. Otherwise it would go through them again and
again without finding garbage, which takes half of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 100_000  # objects
NEVER = 2**31 - 1


@contextmanager
def collector_off() -> Iterator[None]:
    """No collection in this block. For a process that does nothing else meanwhile. If the block has made more than MANY
    objects, the collector never looks at them again."""
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
    """No full collection in this block, since its pause would grow with the number of all objects. Short collections
    still free the garbage of requests."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def freeze_young() -> None:
    """Hide all current objects from the collector. The time for this does not grow with their number."""
    gc.collect(1)
    gc.freeze()
