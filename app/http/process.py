"""What the gateway asks of the system for its own process: memory, garbage collection, open files."""

import contextlib
import ctypes
import gc
import resource

import structlog

from .protocol import RESERVE

_log = structlog.get_logger("nats-http.server")


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


HEAP = 64 * 1024 * 1024  # bytes


OTHER_FILES = 64  # open files that are no connections


def keep_heap() -> None:
    """Let the allocator of glibc keep up to HEAP bytes that were freed, for the next large body. To return these pages
    and to get others costs half of what such a body does. Other C libraries ignore it (mallopt(3))."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, HEAP)
        mallopt(M_MMAP_THRESHOLD, HEAP // 2)


def freeze_heap() -> None:
    """Take what lives on, the code and the routes, out of the garbage collector's sight: to look through all of it
    would hold up every request for 25 ms, every second or so under load."""
    gc.collect()
    gc.freeze()


def fit_connections(wanted: int) -> int:
    """As many connections as are wanted, or as open files allow; their soft limit is raised to that end."""
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
