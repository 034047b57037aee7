"""Writes `Server-Timing` (https://www.w3.org/TR/server-timing/): it shows callers how long NATS and the gateway
took."""

import time

from ..edge.request import Request
from .responses import SERVER_TIMING, Response

_ALONE = SERVER_TIMING + b"gateway;dur=%.2f\r\n"
_WITH_NATS = SERVER_TIMING + b"nats;dur=%.2f, gateway;dur=%.2f\r\n"


def add_timing(response: Response, request: Request, waited: float | None) -> None:
    """Set the timing of a response. `waited` is the seconds from the request to NATS to its outcome; None if nothing
    was sent. The rest of the time since the reception of the request is the gateway's own. Both are written in
    milliseconds with two decimals."""
    total = time.monotonic() - request.received
    if waited is None:
        response.timing = _ALONE % (total * 1000)
    else:
        response.timing = _WITH_NATS % (waited * 1000, (total - waited) * 1000)
