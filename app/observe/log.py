"""Structured logs: one line an exchange, JSON unless they are for people.

Laws:
1. Each line has `event`, `level` and `timestamp`, those of libraries `logger` as well. One object a line, in ASCII.
2. No line below the level is written, whoever logs it.
3. A message of a library that says what the gateway says itself comes at the level `debug` only, and one that may have
   a query in it not at all.

Failures (5xx) are always logged; the rest with `GATEWAY_ACCESS_LOG=on`, since a line costs about as much as all
else that the gateway does for a request.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import structlog
from pydantic_core import to_json

from .console import Console
from .stream import QueuedStream
from .uncaught import log_uncaught

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

    Writer = Callable[[WrappedLogger, str, EventDict], str]

_BILLION = 10**9

# What these say less of, as the gateway says it: a caller that sends no HTTP is not news, the link says what there is
# to say of NATS, and a reload says which file it has read.
_QUIET = {"uvicorn.error": logging.ERROR, "nats": logging.CRITICAL, "watchfiles": logging.WARNING}
# At the levels below `warning` these say which address they ask, with its query, in which there may be a secret.
_TOO_OPEN = ("httpx", "httpcore", "urllib3")


def configure_logging(*, color: bool, form: str | None = None, level: str = "info") -> None:
    """Send everything, the libraries' logs and uncaught exceptions included, to stderr. `form` is `text`, lines for
    people, or `json`, one object a line; without it the former only on a terminal. `color` is for text. `level` is the
    least that is written: debug, info, warning or error. From now on nothing that Python writes to stderr makes its
    caller wait; lines that don't fit into the queue are counted in an event `log-lines-dropped`."""
    is_text = sys.stderr.isatty() if form is None else form == "text"
    least = logging.getLevelNamesMapping()[level.upper()]
    # structlog's own lines for a terminal would show the values of variables in tracebacks, which may be secrets.
    write = (
        _make_writer(Console(color=color), _write_time_of_day) if is_text else _make_writer(_write_json, _write_time)
    )

    def report_dropped(count: int) -> str:
        is_wanted = least <= logging.WARNING
        return f"{write(None, 'warning', {'event': 'log-lines-dropped', 'count': count})}\n" if is_wanted else ""

    sys.stderr = stream = QueuedStream(sys.stderr, report_dropped)
    structlog.configure(
        processors=[write],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(stream, write, least)
    log_uncaught()


def _configure_libraries(stream: TextIO, write: "Writer", least: int) -> None:
    handler = logging.StreamHandler(stream)
    stdlib = structlog.stdlib
    handler.setFormatter(
        stdlib.ProcessorFormatter(
            foreign_pre_chain=[stdlib.add_logger_name, stdlib.ExtraAdder(), _drop_colors],
            processors=[stdlib.ProcessorFormatter.remove_processors_meta, write],
        )
    )
    logging.basicConfig(handlers=[handler], level=least, force=True)
    for name, usual in _QUIET.items():
        logging.getLogger(name).setLevel(least if least == logging.DEBUG else max(usual, least))
    for name in _TOO_OPEN:
        logging.getLogger(name).setLevel(max(logging.WARNING, least))


def _drop_colors(_: "WrappedLogger", __: str, event: "EventDict") -> "EventDict":
    event.pop("color_message", None)  # uvicorn's message once more, for terminals
    event["event"] = str(event["event"]).strip()
    return event


def _make_writer(write_event: Callable[["EventDict"], str], write_time: Callable[[], str]) -> "Writer":
    """The only processor, which makes the line: several would cost twice as much."""

    def write(logger: "WrappedLogger", level: str, event: "EventDict") -> str:
        event["level"], event["timestamp"] = level, write_time()
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        return write_event(event)

    return write


def _write_json(event: "EventDict") -> str:
    """pydantic's encoder takes a third of the time, and the usual one escapes: a control character that a terminal
    obeys is beyond ASCII, too."""
    with contextlib.suppress(ValueError):  # half of a surrogate pair, or bytes that are no text
        if (line := to_json(event, fallback=repr).decode("utf-8")).isascii():
            return line
    return json.dumps(event, default=repr, separators=(",", ":"))


def _write_time() -> str:
    second, nanoseconds = divmod(time.time_ns(), _BILLION)
    return f"{_write_second(second)}.{nanoseconds // 1000:06d}Z"


@lru_cache(2)
def _write_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _write_time_of_day() -> str:
    return _write_second_of_day(int(time.time()))


@lru_cache(2)
def _write_second_of_day(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))
