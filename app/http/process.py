"""Sets up this process: memory allocation, garbage collection, and the limit of open files."""

import contextlib
import ctypes
import gc
import resource

import structlog

from .protocol import RESERVE

_log = structlog.get_logger("nats-http.server")


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


HEAP = 64 * 1024 * 1024  # bytes


COLLECTIONS = 700, 10, 50
"""As by default, but a full collection is five times as rare: its pause grows with the number of connections. Young
ones stay as frequent, since a refused request leaves a cycle of objects behind."""

OTHER_FILES = 64  # open files that are not connections


def keep_heap() -> None:
    """Let the allocator of glibc keep up to HEAP freed bytes for the next large body, since returning pages to the
    system and getting new ones is half of the cost of such a body. Other C libraries ignore this (mallopt(3))."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, HEAP)
        mallopt(M_MMAP_THRESHOLD, HEAP // 2)


def freeze_heap() -> None:
    """Hide the objects that stay, such as code and routes, from the garbage collector. Under load it would go through
    all of them about every second, and delay every request by 25 ms.

    A look at all objects that came later is rare too. A message to thousands of callers makes as many objects, which
    soon go again: by default every few such messages would make it go through the objects of all connections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


def fit_connections(wanted: int) -> int:
    """Raise the soft limit of open files as far as `wanted` connections need. Returns how many connections it then
    allows: at most `wanted`, and at least 1. Logs a warning if they are fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    fitting = max(1, granted - RESERVE - OTHER_FILES)
    if fitting < wanted:
        _log.warning("connections-limited", wanted=wanted, granted=fitting, reason="the limit of open files")
    return fitting
