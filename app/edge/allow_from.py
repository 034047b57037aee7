"""`allow_from` of a route: only callers from these networks may call it."""

from collections.abc import Iterable

from ..errors import Forbidden
from .networks import Networks
from .request import Request


class AllowFrom:
    """Refuses a caller from outside these networks with 403 `forbidden`. A caller whose address is unknown is refused
    as well."""

    fields: frozenset[bytes] = frozenset()
    errors = (Forbidden,)

    def __init__(self, networks: Iterable[str]) -> None:
        self.networks = tuple(networks)
        self._networks = Networks(self.networks)

    def check(self, request: Request) -> None:
        """Raises Forbidden unless the address of the caller is in one of the networks."""
        if request.caller.address not in self._networks:
            raise Forbidden
