"""The access log: a line for each record, and a line for the failures of a storm that have no record."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from ..errors import Internal
from .record import Record
from .storm import Storm, Summary, Timer

_log = structlog.get_logger("nats-http.access")


def log_record(record: Record, **more: str | None) -> None:
    """Log one record. A failure is a warning, and a bug of the gateway an error. Times are in milliseconds, rounded to
    microseconds. `more` are additional fields."""
    write = _log.info if record.status < 500 else _log.error if record.slug == Internal.slug else _log.warning
    write(
        "exchange",
        route=record.route,
        method=record.method,
        status=record.status,
        slug=record.slug,
        delivered=record.delivered,
        duration_ms=round(record.duration * 1000, 3),
        reply_ms=None if record.reply_time is None else round(record.reply_time * 1000, 3),
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        peer=record.peer,
        request_id=record.request_id,
        **({"scheme": record.scheme, "caller": record.caller} if record.scheme else {}),
        **({"trace_id": record.trace_id} if record.trace_id else {}),
        **dict(record.facts),
        **more,
    )


def log_failure(record: Record) -> None:
    """Log a record, unless it is of a page that reports by its status that something is wrong, such as `/readyz`."""
    if is_failure(record):
        log_record(record)


def is_failure(record: Record) -> bool:
    """Whether a 5xx response is a failure. It is not if a page only reports by it that something is wrong."""
    return record.route is not None or record.slug is not None


def log_summary(summary: Summary) -> None:
    """Log how many failures of the last second have no line of their own."""
    write = _log.error if summary.slug == Internal.slug else _log.warning
    since = datetime.fromtimestamp(summary.since, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    write("exchanges-summed-up", route=summary.route, slug=summary.slug, count=summary.count, since=since)


def make_storm() -> Storm:
    """A Storm that logs its summaries. It uses timers of the running event loop."""

    def start_timer(seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)

    return Storm(start_timer, (log_summary,))
