"""Reports the state of each process, and serves `/metrics` and `/status`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import structlog
from fastapi import FastAPI

from ..nats.link import Link
from ..observe.counts import Counts
from ..observe.gauges import CPU_SECONDS, GAP_CAUSES, NATS_RECONNECTS, STREAM_EVENTS, Ask, Reporter, name_gaps, name_of
from ..observe.recent import Recent
from ..observe.record import Observers
from ..settings import Settings
from .assets import Assets
from .metrics import Metrics, add_metrics
from .nats_timeline import NatsTimelines
from .state import Sources
from .status import Status, add_status

INTERVAL = 0.25  # seconds between two reports
BROKEN_PAUSE = 2.0  # seconds until a task that failed starts again

_log = structlog.get_logger("nats-http.monitor")

Place = bool | tuple[str, int]
"""True for the gateway's own port, else a host and a port."""


class Monitor:
    """The monitor of one process. `gauges` are the gauges that it reports, by name. You may add others before it
    runs."""

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        *,
        count_connections: Ask,
        count_streams: Ask,
        stream_counts: Mapping[str, int],
    ) -> None:
        """`stream_counts` has the number of `events` in streams, and of gaps by their cause."""
        boards, links = sources.boards, sources.links
        self._settings = settings
        self.gauges: dict[str, Ask] = {
            "open_connections": count_connections,
            "streams_open": count_streams,
            "routes": lambda: len(sources.find_routes()),
            "workers": lambda: 1,
        }
        for cluster, link in links.items():
            self.gauges |= {
                name_of(name, cluster): ask for name, ask in _list_gauges(link, settings.max_in_flight).items()
            }
        if boards.are_alone:
            self.gauges |= list_gauges_of_file(is_right=lambda: True, loaded_at=partial(float, time.time()))
        counters: dict[str, Callable[[], float]] = {
            **{name_of(NATS_RECONNECTS, name): partial(_count_reconnects, link) for name, link in links.items()},
            CPU_SECONDS: time.process_time,
            STREAM_EVENTS: lambda: stream_counts["events"],
            **{name_gaps(cause): partial(_read, stream_counts, cause) for cause in GAP_CAUSES},
        }
        self._reporter = Reporter(boards.own, gauges=self.gauges, counters=counters)
        self._metrics = Metrics(boards, self._report, tuple(links))
        self._status = Status(sources) if settings.status else None
        self._timeline = NatsTimelines(boards.own, links)
        self._recent = Recent(boards.own)
        self.counts = Counts(boards.own) if settings.metrics or settings.status else None

    def add_to(self, observers: Observers) -> Observers:
        """The same observers, with those of the status page."""
        if self._status is None:
            return observers
        if observers.storm is not None:
            observers.storm.add_observer(self._recent.add_left_out)
        return replace(observers, failure=(*observers.failure, self._recent.take))

    def add_pages(self, app: FastAPI, assets: Assets, *, place: Place, pages: Container[str]) -> None:
        """Add the pages that belong to this place. The status page links to `pages`."""
        if self._settings.metrics == place:
            add_metrics(app, self._metrics)
        if self._status is not None and self._settings.status == place:
            asks = place is True and self._settings.pages_auth is not None
            add_status(app, assets, self._status, pages=pages, asks=asks)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Report now, every INTERVAL, and at the end. Meanwhile keep the history of the status page."""
        works = [self._keep_reporting, *([self._status.run] if self._status else [])]
        tasks = [asyncio.create_task(_keep_running(work)) for work in works]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._report()
            self._reporter.leave()

    async def _keep_reporting(self) -> None:
        while True:
            self._report()
            if self._status is not None:
                self._timeline.report()
                self._recent.publish()
            await asyncio.sleep(INTERVAL)

    def _report(self) -> None:
        if self.counts is not None:
            self.counts.flush()
        self._reporter.report()


def _list_gauges(link: Link, limit: int) -> dict[str, Ask]:
    """The gauges of OF_CLUSTERS for one cluster."""
    return {
        "requests_in_flight": lambda: link.in_flight,
        "requests_in_flight_limit": lambda: limit,
        "nats_connected": lambda: link.server is not None,
        "nats_round_trip_seconds": lambda: link.round_trip,
        "nats_backlog_bytes": lambda: link.backlog,
    }


def _count_reconnects(link: Link) -> int:
    return link.reconnects


def _read(counts: Mapping[str, int], name: str) -> int:
    return counts[name]


async def _keep_running(work: Callable[[], Awaitable[None]]) -> None:
    """Run this work for ever. An exception is logged, and the work starts again, so that pages do not freeze."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("monitor-broken")
            await asyncio.sleep(BROKEN_PAUSE)


def list_gauges_of_file(*, is_right: Callable[[], bool], loaded_at: Ask) -> dict[str, Ask]:
    """The gauges of the process that reads the route file."""
    return {
        "config_last_reload_successful": is_right,
        "config_last_reload_success_timestamp_seconds": loaded_at,
    }
