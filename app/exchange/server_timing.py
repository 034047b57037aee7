"""`Server-Timing` (https://www.w3.org/TR/server-timing/): how long NATS and the gateway took, for a caller's eyes."""

import time

from ..edge.request import Request
from .responses import Response


def add_timing(response: Response, request: Request, waited: float | None) -> None:
    """Say it in the header of a response. `waited` is the seconds from the request to NATS to its outcome, None where
    nothing was sent; the rest since the request was received is the gateway's own. Both are told in milliseconds, to
    the hundredth."""
    total = time.monotonic() - request.received
    if waited is None:
        response.timing = b"gateway;dur=%.2f" % (total * 1000)
    else:
        response.timing = b"nats;dur=%.2f, gateway;dur=%.2f" % (waited * 1000, (total - waited) * 1000)
