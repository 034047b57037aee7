"""Structured logs: one line an exchange, JSON unless on a terminal.

Failures (5xx) are always logged; the rest with `GATEWAY_ACCESS_LOG=on`, since a line costs about as much as all
else that the gateway does for a request.
"""

import contextlib
import io
import logging
import sys
from typing import TextIO

import structlog

from app.observe import Exchange, Observers

_log = structlog.get_logger("nats-http.access")


def configure_logging(*, color: bool) -> None:
    """Send everything, the libraries' logs included, to stderr: readable on a terminal, one JSON object a line
    elsewhere. `color` is for the terminal."""
    readable = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
        structlog.stdlib.ExtraAdder(),
    ]
    renderer: list[structlog.typing.Processor] = (
        [_build_console_renderer(color)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[shared[0], shared[1], *renderer],
        logger_factory=structlog.WriteLoggerFactory(file=_Stream(sys.stderr)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Stream(sys.stderr))
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *renderer])
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a caller that sends no HTTP is not news
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # the link says what there is to say


class _Stream(io.StringIO):
    """A stream that can be lost: a reader that has gone or a full disk costs log lines, never a request."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _build_console_renderer(color: bool) -> structlog.dev.ConsoleRenderer:
    # Its own tracebacks would show the values of variables, which may be secrets.
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=color, sort_keys=False, exception_formatter=plain)


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


def choose_observers(*, access_log: bool) -> Observers:
    return Observers(failure=(log_exchange,), other=(log_exchange,) if access_log else ())
