"""`Server-Timing` (https://www.w3.org/TR/server-timing/): how long NATS and the gateway took, for a caller's eyes."""

import time
from functools import lru_cache

from ..edge.request import Request
from .responses import Response

_STEPS = 100_000  # in a second
_REMEMBERED = 10_000  # durations, up to 0.1 s


def add_timing(response: Response, request: Request, waited: float | None) -> None:
    """Say it in the header of a response. `waited` is the seconds from the request to NATS to its outcome, None where
    nothing was sent; the rest since the request was received is the gateway's own. Both are told in milliseconds, to
    the hundredth."""
    total = int((time.monotonic() - request.received) * _STEPS)
    if waited is None:
        timing = b"gateway;dur=" + _write(total)
    else:
        nats = int(waited * _STEPS)
        timing = b"nats;dur=" + _write(nats) + b", gateway;dur=" + _write(total - nats)
    response.added += ((b"server-timing", timing),)


@lru_cache(_REMEMBERED)
def _write(steps: int) -> bytes:
    """In milliseconds. To remember it takes a fifth of the time, and most durations come again."""
    return b"%d.%02d" % divmod(steps, _STEPS // 1000)
