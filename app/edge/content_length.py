"""`content_length: required` on a route: no bodies of unknown length."""

from ..errors import LengthRequired
from .request import BODY_METHODS, Request


class RequireLength:
    """Refuses a request that does not say in `Content-Length` how long its body is with 411 `length-required`
    (RFC 9110 §15.5.12): a chunked one, or a POST, PUT or PATCH with neither field."""

    fields = frozenset((b"content-length", b"transfer-encoding"))
    errors = (LengthRequired,)

    def check(self, request: Request) -> None:
        names = {name for name, _ in request.headers}
        if b"content-length" not in names and (b"transfer-encoding" in names or request.method in BODY_METHODS):
            raise LengthRequired
