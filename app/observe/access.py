"""The access log: one line for a record."""

import structlog

from .record import Record

_log = structlog.get_logger("nats-http.access")


def log_record(record: Record, **more: str | None) -> None:
    """One line for one record. Times are in milliseconds, rounded to microseconds. `more` are further fields."""
    write = _log.error if record.status >= 500 else _log.info
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
        **dict(record.facts),
        **more,
    )


def log_failure(record: Record) -> None:
    """The same, but not for a page that only says by its status that something is not well, such as `/readyz`."""
    if is_failure(record):
        log_record(record)


def is_failure(record: Record) -> bool:
    """Whether a response of 5xx tells of a failure, and is no page that only says how the gateway is."""
    return record.route is not None or record.slug is not None
