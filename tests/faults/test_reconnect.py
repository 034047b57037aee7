"""A hundred gateways lose their server at the same moment."""

import asyncio
import contextlib

from app.nats.link import STABLE, Link
from tests.faults.proxy import Proxy
from tests.faults.report import Report
from tests.harness import NatsServer, eventually

GATEWAYS = 100
WINDOW, MOST_IN_WINDOW = 0.02, 60  # seconds, and how many may come back within


async def test_a_hundred_gateways_do_not_come_back_in_the_same_moment(own_nats: NatsServer, report: Report) -> None:
    async with (
        Proxy(int(own_nats.url.rpartition(":")[2])).serving() as between,
        contextlib.AsyncExitStack() as stack,
    ):
        links = [Link([between.url], max_in_flight=1) for _ in range(GATEWAYS)]
        for link in links:
            await stack.enter_async_context(link)
        await eventually(lambda: all(link.reason is None for link in links))
        await asyncio.sleep(STABLE + 0.5)  # the shortest pause is the one after a connection that has lasted
        between.opened.clear()
        between.close_all()
        await eventually(lambda: len(between.opened) >= GATEWAYS)
    opened = sorted(between.opened)
    fullest = max(sum(start <= each < start + WINDOW for each in opened) for start in opened)
    assert fullest <= MOST_IN_WINDOW
    measured = f"they reconnect within {(opened[-1] - opened[0]) * 1000:.0f} ms, at most {fullest} of them within 20 ms"
    report.add(f"{GATEWAYS} gateways lose their connection at the same moment", measured=measured)
