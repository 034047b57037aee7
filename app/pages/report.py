"""What a process reports of itself at intervals, so that every other process of the gateway can show it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from ..nats.link import Link
from ..observe.gauges import CPU_SECONDS, NATS_RECONNECTS, Ask, Reporter

INTERVAL = 0.25  # seconds between two reports


def list_gauges(link: Link, *, limit: int, count_connections: Ask, count_routes: Callable[[], int]) -> dict[str, Ask]:
    """Those of `observe.gauges.GAUGES` that every process knows."""
    return {
        "requests_in_flight": lambda: link.in_flight,
        "requests_in_flight_limit": lambda: limit,
        "open_connections": count_connections,
        "nats_connected": lambda: link.server is not None,
        "nats_round_trip_seconds": lambda: link.round_trip,
        "nats_backlog_bytes": lambda: link.backlog,
        "routes": count_routes,
        "workers": lambda: 1,
    }


def list_gauges_of_file(*, is_right: Callable[[], bool], loaded_at: Ask) -> dict[str, Ask]:
    """Those of the process that reads the route file."""
    return {
        "config_last_reload_successful": is_right,
        "config_last_reload_success_timestamp_seconds": loaded_at,
    }


def list_counters(link: Link) -> Mapping[str, Callable[[], float]]:
    """Those of `observe.gauges` that count up in this process."""
    return {NATS_RECONNECTS: lambda: link.reconnects, CPU_SECONDS: time.process_time}


@asynccontextmanager
async def keep_reporting(reporter: Reporter) -> AsyncIterator[None]:
    """Report now, every INTERVAL, and at the end."""

    async def report() -> None:
        while True:
            reporter.report()
            await asyncio.sleep(INTERVAL)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        reporter.leave()
