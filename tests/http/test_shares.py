"""No route and no caller takes all requests in flight."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.prepared import prepare
from app.routefile.load import RESERVED, Info, RouteFile
from app.routing.routes import Route
from app.routing.table import RouteTable
from tests.harness import PATIENCE, Gateway, NatsServer, RawPeer, eventually, run_gateway


def make_route(name: str, max_in_flight: int | None = None) -> Route:
    path = f"/{name}/{{id}}"
    return Route(name=name, methods=("GET",), path=path, subject=f"{name}.{{id}}", max_in_flight=max_in_flight)


SLOW, OTHER, THIRD = (make_route(name) for name in ("slow", "other", "third"))


class Crowd:
    """Requests that are in flight until they are answered or left."""

    def __init__(self, gateway: Gateway, peer: RawPeer) -> None:
        self._gateway = gateway
        self._peer = peer
        self._waiting: list[asyncio.Task[httpx.Response]] = []

    async def ask(self, path: str, client: httpx.AsyncClient | None = None) -> str:
        """The detail of the refusal; an empty text where the request is in flight now."""
        count = self._gateway.link.in_flight
        headers = {"x-request-timeout": "30s"}
        task = asyncio.create_task((client or self._gateway.client).get(path, headers=headers))
        await eventually(lambda: task.done() or self._gateway.link.in_flight > count)
        if not task.done():
            self._waiting.append(task)
            return ""
        problem = task.result().json()
        assert (problem["status"], problem["type"], problem["delivered"]) == (503, "/problems/overloaded", "no")
        assert task.result().headers["retry-after"] == "1"
        return str(problem["detail"])

    async def fill(self, path: str) -> int:
        """How many requests a route takes."""
        count = 0
        while not await self.ask(path):
            count += 1
        return count

    async def answer_all(self) -> None:
        for _ in self._waiting:
            self._peer.publish((await self._peer.next()).reply, b"NATS/1.0\r\n\r\n", b"hi")
        assert {response.status_code for response in await asyncio.gather(*self._waiting)} <= {200}
        self._waiting.clear()
        assert self._gateway.link.in_flight == 0


@contextlib.asynccontextmanager
async def run_crowd(nats: NatsServer, *routes: Route, **settings: Any) -> AsyncIterator[tuple[Crowd, Gateway]]:
    async with (
        run_gateway(nats.url, routes=routes, wait=True, **settings) as gateway,
        RawPeer.connect(nats.url, "slow.*", "other.*", "third.*") as peer,
    ):
        yield Crowd(gateway, peer), gateway


async def test_a_route_takes_half_of_what_others_leave(shared_nats: NatsServer) -> None:
    async with run_crowd(shared_nats, SLOW, OTHER, THIRD, max_in_flight=16) as (crowd, _):
        assert [await crowd.fill(f"/{name}/1") for name in ("slow", "other", "third")] == [8, 4, 2]
        assert await crowd.ask("/slow/1") == "This route has too many requests in flight."
        await crowd.answer_all()
        assert [await crowd.fill(f"/{name}/1") for name in ("third", "slow", "other")] == [8, 4, 2]
        await crowd.answer_all()


async def test_a_route_that_is_alone_may_take_all(shared_nats: NatsServer) -> None:
    async with run_crowd(shared_nats, SLOW, max_in_flight=5) as (crowd, _):
        assert await crowd.fill("/slow/1") == 5
        assert await crowd.ask("/slow/1") == "The gateway has too many requests in flight."
        await crowd.answer_all()


async def test_a_route_may_say_how_many_it_takes(shared_nats: NatsServer) -> None:
    routes = make_route("slow", 7), make_route("other", 1)
    async with run_crowd(shared_nats, *routes, max_in_flight=8) as (crowd, _):
        assert await crowd.fill("/slow/1") == 7
        assert await crowd.fill("/other/1") == 1
        await crowd.answer_all()


async def test_after_a_reload_a_route_counts_what_was_in_flight_before(shared_nats: NatsServer) -> None:
    async with run_crowd(shared_nats, make_route("slow", 3), OTHER) as (crowd, gateway):
        assert await crowd.fill("/slow/1") == 3
        for maximum, more in ((5, 2), (2, 0)):
            table = RouteTable([THIRD, make_route("slow", maximum)], reserved=RESERVED)
            await gateway.parts.serving.swap(prepare(RouteFile(table, Info(), [])))
            assert await crowd.fill("/slow/1") == more
        await crowd.answer_all()
        assert await crowd.fill("/slow/1") == 2
        await crowd.answer_all()


def count_callers(gateway: Gateway) -> int:
    callers = gateway.link._in_flight._callers
    assert callers is not None
    return len(callers)


async def test_a_caller_takes_no_more_than_its_share(shared_nats: NatsServer) -> None:
    other_address = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        run_crowd(shared_nats, SLOW, OTHER, max_in_flight_per_caller=3) as (crowd, gateway),
        httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE, transport=other_address) as other,
    ):
        assert [await crowd.ask(f"/{name}/1") for name in ("slow", "other", "slow")] == ["", "", ""]
        refusal = "Your address has too many requests in flight."
        assert await crowd.ask("/other/1") == refusal
        assert await crowd.ask("/slow/1", other) == ""
        assert count_callers(gateway) == 2
        await crowd.answer_all()
        assert count_callers(gateway) == 0
        assert await crowd.ask("/slow/1") == ""
        await crowd.answer_all()


@pytest.mark.soak
@pytest.mark.parametrize("routes", [(SLOW, OTHER), (SLOW,)])
async def test_nothing_is_counted_once_all_have_ended_in_whatever_way(
    own_nats: NatsServer, routes: tuple[Route, ...]
) -> None:
    """Replies, timeouts, no responders, callers who leave, refusals, and a server that dies."""
    async with run_crowd(own_nats, *routes, max_in_flight=20, max_in_flight_per_caller=15) as (_, gateway):

        async def ask(number: int) -> None:
            timeout = f"{5 + number % 7 * 20}ms"
            with contextlib.suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(0.02 if number % 5 == 0 else PATIENCE):
                    await gateway.get(f"/{('slow', 'other', 'greet')[number % 3]}/1", x_request_timeout=timeout)

        await asyncio.gather(*map(ask, range(200)))
        waiting = [asyncio.create_task(gateway.get("/slow/1", x_request_timeout="20s")) for _ in range(5)]
        await eventually(lambda: gateway.link.in_flight >= 5)
        own_nats.kill()
        assert {response.status_code for response in await asyncio.gather(*waiting)} == {502}
        await eventually(lambda: gateway.link.in_flight == 0)
        assert count_callers(gateway) == 0
        plans = gateway.parts.relay._by_name.values()
        assert [plan.share.count for plan in plans] == [0] * len(routes)
