"""Structured logs: one line an exchange, JSON unless they are for people.

Failures (5xx) are always logged; the rest with `GATEWAY_ACCESS_LOG=on`, since a line costs about as much as all
else that the gateway does for a request.
"""

import json
import logging
import sys

import structlog

from .console import Console
from .stream import QueuedStream

_log = structlog.get_logger("nats-http.access")


def configure_logging(*, color: bool, readable: bool | None = None) -> None:
    """Send everything, the libraries' logs included, to stderr: lines for people, or one JSON object a line. Without
    `readable` the former only on a terminal. `color` is for such lines. From now on nothing that Python writes to
    stderr, tracebacks included, makes its caller wait; lines that don't fit into the queue are counted in an event
    `log-lines-dropped`."""
    readable = sys.stderr.isatty() if readable is None else readable
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
        structlog.stdlib.ExtraAdder(),
    ]
    # structlog's own lines for a terminal would show the values of variables in tracebacks, which may be secrets.
    write = Console(color=color) if readable else structlog.processors.JSONRenderer(_encode_json)
    renderer: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, write]
    processors = [shared[0], shared[1], *renderer]
    sys.stderr = stream = QueuedStream(sys.stderr, lambda count: _report_dropped(count, processors))
    structlog.configure(
        processors=processors,
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *renderer])
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a caller that sends no HTTP is not news
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # the link says what there is to say


_encoder = json.JSONEncoder(default=repr, check_circular=False)


def _encode_json(event: object, **_: object) -> str:
    """As `json.dumps`, which would make an encoder for each line."""
    return _encoder.encode(event)


def _report_dropped(count: int, processors: list[structlog.typing.Processor]) -> str:
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors)
    return f"{log.warning('log-lines-dropped', count=count)}\n"
