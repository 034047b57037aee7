"""Does to a site what a plan says."""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import TimeoutExpired

import httpx

from tests.soak.callers import HOST
from tests.soak.plan import PATIENCE, Event, Step
from tests.soak.site import Gateway, Site
from tests.soak.streams import wait_until_whole

DOWN = 2.0  # seconds that a NATS node is away
FAILURES = (OSError, RuntimeError, AssertionError, TimeoutExpired, httpx.HTTPError)
"""Of an event itself. They end the event, and the run goes on."""
TRIES = 6  # connections that must all have the new routes: each goes to any worker


@dataclass(slots=True)
class Chaos:
    """Follows plans. `faults` says what went wrong with an event itself."""

    site: Site
    done: Counter[Event] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _next_node: int = 0

    @contextlib.asynccontextmanager
    async def following(self, steps: Sequence[Step]) -> AsyncIterator[None]:
        """When it is left, all steps are done."""
        task = asyncio.create_task(self._follow(steps))
        try:
            yield
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, steps: Sequence[Step]) -> None:
        acts: Mapping[Event, Callable[[], Awaitable[None]]] = {
            Event.KILL: self._kill,
            Event.RELOAD: self._reload,
            Event.REFUSE: self._refuse,
            Event.REPLACE: self._replace,
        }
        began = time.monotonic()
        for step in steps:
            await asyncio.sleep(began + step.at - time.monotonic())
            try:
                await acts[step.event]()
                self.done[step.event] += 1
            except FAILURES as error:
                self.faults.append(f"{step.event}: {error!r}")

    async def _kill(self) -> None:
        node = self.site.nodes[self._next_node]
        self._next_node = (self._next_node + 1) % len(self.site.nodes)
        await asyncio.to_thread(node.kill)
        await asyncio.sleep(DOWN)
        await asyncio.to_thread(node.start)
        await wait_until_whole(node.url)

    async def _reload(self) -> None:
        path = self.site.routes.renew()
        await self._hang_up("routes-loaded")
        for gateway in self.site.gateways:
            await wait_until_served(gateway, path)

    async def _refuse(self) -> None:
        self.site.routes.spoil()
        try:
            await self._hang_up("routes-refused")
        finally:
            self.site.routes.restore()

    async def _hang_up(self, event: str) -> None:
        sizes = [gateway.log.stat().st_size for gateway in self.site.gateways]
        for gateway in self.site.gateways:
            gateway.process.process.send_signal(signal.SIGHUP)
        for gateway, size in zip(self.site.gateways, sizes, strict=True):
            await asyncio.to_thread(gateway.wait_for_event, event, since=size)

    async def _replace(self) -> None:
        gateway = self.site.gateways[-1]
        await asyncio.to_thread(gateway.stop)
        await asyncio.to_thread(gateway.start)


async def wait_until_served(gateway: Gateway, path: str) -> None:
    """Until some new connections in a row know this path. Raises TimeoutError."""
    url, known = f"http://{HOST}:{gateway.address.port}{path}", 0
    async with asyncio.timeout(PATIENCE):
        while known < TRIES:
            async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
                known = 0 if (await client.get(url)).status_code == 404 else known + 1
            await asyncio.sleep(0.05)
