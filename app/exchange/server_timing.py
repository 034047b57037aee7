"""`Server-Timing` (https://www.w3.org/TR/server-timing/): how long NATS and the gateway took, for a caller's eyes."""

import time

from ..edge.request import Request
from .responses import Response


def add_timing(response: Response, request: Request, waited: float | None) -> None:
    """Say it in the header of a response. `waited` is the seconds from the request to NATS to its outcome, None where
    nothing was sent; the rest since the request was received is the gateway's own. Both are told in milliseconds."""
    total = int((time.monotonic() - request.received) * 1_000_000)  # whole numbers are written at a third of the cost
    if waited is None:
        response.timing = b"gateway;dur=%d.%03d" % divmod(total, 1000)
    else:
        nats = int(waited * 1_000_000)
        response.timing = b"nats;dur=%d.%03d, gateway;dur=%d.%03d" % (*divmod(nats, 1000), *divmod(total - nats, 1000))
