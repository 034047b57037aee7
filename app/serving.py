"""The routes that are served now, and their replacement by others between two requests."""

from collections.abc import Callable, Sequence

from .collector import freeze_young
from .exchange.plans import Plans
from .exchange.relay import Relay
from .pieces import Steps, run_in_pieces
from .prepared import PreparedRoutes
from .routing.table import RouteTable


class Serving:
    """The routes that are served now."""

    def __init__(
        self, prepared: PreparedRoutes, relay: Relay, on_swap: Sequence[Callable[[PreparedRoutes], None]] = ()
    ) -> None:
        """Each function of `on_swap` is called with the new routes, right before they are served."""
        self.prepared = prepared
        self._relay = relay
        self._on_swap = on_swap

    @property
    def table(self) -> RouteTable:
        """The table of the current routes."""
        return self.prepared.table

    async def swap(self, fresh: PreparedRoutes) -> None:
        """Serve these routes from the next request on. The old routes are taken apart, so nobody else may use them."""
        plans = await run_in_pieces(_plan_all(fresh.table, self._relay))
        for take in self._on_swap:
            take(fresh)
        before, old_plans = self.table, self._relay.use(fresh.table, plans, fresh.cors)
        self.prepared = fresh
        freeze_young()
        await run_in_pieces(_let_go(before, old_plans))


def _plan_all(table: RouteTable, relay: Relay) -> Steps[Plans]:
    plans: Plans = {}
    is_alone = len(table.routes) == 1
    for route in table.routes:
        plans[route] = relay.plan(route, is_alone=is_alone)
        yield
    return plans


def _let_go(table: RouteTable, plans: Plans) -> Steps[None]:
    """Free the old routes in steps. To free them at once would be a pause that grows with their number."""
    while plans:
        plans.popitem()
        yield
    yield from table.let_go()
