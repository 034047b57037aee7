"""The access log: one line for a record."""

import structlog

from .record import Exchange

_log = structlog.get_logger("nats-http.access")


def log_exchange(exchange: Exchange) -> None:
    """One line for one exchange. `duration_ms` is rounded to microseconds."""
    write = _log.error if exchange.status >= 500 else _log.info
    write(
        "exchange",
        route=exchange.route,
        method=exchange.method,
        status=exchange.status,
        slug=exchange.slug,
        delivered=exchange.delivered,
        duration_ms=round(exchange.duration * 1000, 3),
        request_id=exchange.request_id,
    )
