"""`Server-Timing` (https://www.w3.org/TR/server-timing/): how long NATS and the gateway took, for a caller's eyes."""

import time

from ..edge.request import Request
from .responses import Response


def add_timing(response: Response, request: Request, waited: float | None) -> None:
    """Say it in the header of a response. `waited` is the seconds from the request to NATS to its outcome, None where
    nothing was sent; the rest since the request was received is the gateway's own. Both are told in milliseconds."""
    own = (time.monotonic() - request.received - (waited or 0.0)) * 1000
    text = f"gateway;dur={own:.3f}" if waited is None else f"nats;dur={waited * 1000:.3f}, gateway;dur={own:.3f}"
    response.fields = response.fields.plus(b"server-timing", text.encode())
