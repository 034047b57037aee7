"""Scrapes of a gateway as a monitor makes them, each on a connection of its own, and what they must look like."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import cycle

import httpx
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.harness import PATIENCE

Series = tuple[str, frozenset[tuple[str, str]]]
Counters = dict[Series, float]

PLAIN = "text/plain"
OPENMETRICS = "application/openmetrics-text"
PARSERS: dict[str, Callable[[str], Iterable[Metric]]] = {PLAIN: parse_text, OPENMETRICS: parse_openmetrics}
CUMULATIVE = ("_total", "_count", "_sum", "_bucket")


async def scrape(url: str, accept: str = PLAIN) -> httpx.Response:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False) as client:  # noqa: S501
        return await client.get(f"{url}/metrics", headers={"accept": accept, "connection": "close"})


def read_counters(response: httpx.Response) -> Counters:
    """All that may only grow. Raises where the response is not whole, or not in the format that its type says."""
    assert response.status_code == 200
    kind = response.headers["content-type"].split(";")[0]
    if kind == OPENMETRICS:
        assert response.text.endswith("\n# EOF\n")
    samples = [sample for family in PARSERS[kind](response.text) for sample in family.samples]
    assert samples
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for sample in samples
        if sample.name.endswith(CUMULATIVE)
    }


def find_steps_back(before: Mapping[Series, float], after: Mapping[Series, float]) -> list[str]:
    """The counters that have fallen or gone."""
    return [
        f"{series}: {value} -> {after.get(series)}"
        for series, value in before.items()
        if after.get(series, -1.0) < value
    ]


@dataclass(slots=True)
class Scrapes:
    """What came of scrapes in a row."""

    whole: int = 0
    refused: list[int] = field(default_factory=list)
    """Statuses of answers that were an error in so many words."""
    lost: list[httpx.TransportError] = field(default_factory=list)
    """Connections that were refused, or broke."""
    counters: Counters = field(default_factory=dict)

    async def add(self, url: str, accept: str) -> None:
        try:
            response = await scrape(url, accept)
        except httpx.TransportError as error:
            self.lost.append(error)
            return
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == response.status_code
            self.refused.append(response.status_code)
            return
        counters = read_counters(response)
        assert find_steps_back(self.counters, counters) == []
        self.counters = counters
        self.whole += 1

    async def wait_for(self, count: int) -> None:
        """Until there are so many more whole ones."""
        wanted = self.whole + count
        async with asyncio.timeout(PATIENCE):
            while self.whole < wanted:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def keep_scraping(url: str) -> AsyncIterator[Scrapes]:
    """One scrape after the other, in both formats in turn. Leaving raises what was wrong with one."""
    scrapes = Scrapes()
    leaving = asyncio.Event()

    async def go_on() -> None:
        for accept in cycle(PARSERS):
            if leaving.is_set():
                return
            await scrapes.add(url, accept)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go_on())
        try:
            yield scrapes
        finally:
            leaving.set()
