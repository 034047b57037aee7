"""What a policy is: one condition that a route sets for its caller. Each policy is one file beside this.

The relay asks the policies of a route right after the match, in their order, before it reads a parameter or a body.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import GatewayError
from .request import Request

AsyncCheck = Callable[[], Awaitable[None]]
"""A check that needs something from elsewhere: the lane awaits what it returns. Raises a GatewayError to refuse."""


class Policy(Protocol):
    """A condition for requests to one route. One that remembers something, such as how often a caller asked, defines
    `__eq__`: after a reload the old one of a route goes on in the place of an equal new one."""

    @property
    def fields(self) -> frozenset[bytes]:
        """The names, in lower case, of the request header fields that `check` looks at."""

    @property
    def errors(self) -> tuple[type[GatewayError], ...]:
        """What it may refuse a request with, for the OpenAPI document."""

    def check(self, request: Request) -> AsyncCheck | None:
        """Return None to let the request pass. Raise a GatewayError to refuse it. Return an AsyncCheck where the
        answer has to be waited for: the request then goes on over ASGI, and `check` is not called again.

        Fields that it adds to `request.added`, but for `Vary`, stand in every answer to the request, whether it lets it
        pass or refuses it: in the reply of the service, in any problem, and at the head of a stream. So do the names
        that it gives to `request.vary_by`, in `Vary`."""
