"""`content_length: required` on a route: no bodies of unknown length."""

from collections.abc import Sequence

from ..errors import LengthRequired
from ..formats.fields import Pair
from .request import BODY_METHODS, Request


class RequireLength:
    """Refuses a request that does not say in `Content-Length` how long its body is with 411 `length-required`
    (RFC 9110 §15.5.12): a chunked one, or a POST, PUT or PATCH with neither field."""

    fields = frozenset((b"content-length", b"transfer-encoding"))
    errors = (LengthRequired,)

    def check(self, request: Request, fields: Sequence[Pair]) -> None:
        names = {name for name, _ in fields}
        if b"content-length" not in names and (b"transfer-encoding" in names or request.method in BODY_METHODS):
            raise LengthRequired
