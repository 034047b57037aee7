"""The interface of policies. A policy is one condition that a route sets for its callers, in a module of its own.

The relay checks the policies of a route right after the match, in their order, before it reads a parameter or a body.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import GatewayError
from .request import Request

AsyncCheck = Callable[[], Awaitable[None]]
"""A check that must wait for something. The lane awaits the result. It raises a GatewayError to refuse the request."""


class Policy(Protocol):
    """A condition for requests to one route. A policy with state, such as counts of requests, defines `__eq__`: after a
    reload the old policy of a route replaces an equal new one, so that it keeps its state."""

    @property
    def fields(self) -> frozenset[bytes]:
        """The names, in lower case, of the request header fields that `check` reads."""

    @property
    def errors(self) -> tuple[type[GatewayError], ...]:
        """The errors with which it may refuse a request, for the OpenAPI document."""

    def check(self, request: Request) -> AsyncCheck | None:
        """Return None to let the request pass. Raise a GatewayError to refuse it. Return an AsyncCheck if the decision
        must wait: the request then continues on the ASGI lane, and `check` is not called again.

        Fields that it adds to `request.added` are in every answer to the request, whether it passes or is refused: in
        the reply of the service, in any problem, and at the head of a stream. Do not add `Vary` there. Give its names
        to `request.vary_by`, and they are in the `Vary` of every answer."""
