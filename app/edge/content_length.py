"""`content_length: required` of a route: no bodies of unknown length."""

from ..errors import LengthRequired
from .request import BODY_METHODS, Request


class RequireLength:
    """Refuses a body without a `Content-Length` with 411 `length-required` (RFC 9110 §15.5.12): a body in chunks, or a
    POST, PUT or PATCH with neither `Content-Length` nor `Transfer-Encoding`."""

    fields = frozenset((b"content-length", b"transfer-encoding"))
    errors = (LengthRequired,)

    def check(self, request: Request) -> None:
        """Raises LengthRequired for a body of unknown length."""
        names = {name for name, _ in request.headers}
        if b"content-length" not in names and (b"transfer-encoding" in names or request.method in BODY_METHODS):
            raise LengthRequired
