"""Structured logs: one line for each exchange. Lines are JSON, or text for people.

Laws:
1. Each line is one object in ASCII with `event`, `level` and `timestamp`. Lines of libraries also have `logger`.
2. No line below the chosen level is written, not even one of a library.
3. A library's line that repeats a line of the gateway is written only at the level `debug`. A line that may contain a
   query is never written.

Failures (5xx) are always logged. Other responses are logged only with `GATEWAY_ACCESS_LOG=on`, since a line costs about
as much as all other work for a request.
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

# The gateway logs the same as these, but says more. A caller that sends no HTTP is no news, the link reports the state
# of NATS, and a reload names the file that it has read.
_QUIET = {"uvicorn.error": logging.ERROR, "nats": logging.CRITICAL, "watchfiles": logging.WARNING}
# Below the level `warning` these log the address of each request with its query, which may contain a secret.
_TOO_OPEN = ("httpx", "httpcore", "urllib3")


def configure_logging(*, color: bool, form: str | None = None, level: str = "info") -> None:
    """Send all logs to stderr, including those of libraries and uncaught exceptions.

    `form` is `text` (lines for people) or `json` (one object a line). None means text on a terminal, else JSON. `color`
    is for text only. `level` is the lowest level that is written: debug, info, warning or error.

    From now on nothing that Python writes to stderr makes its caller wait. Lines that do not fit into the queue are
    counted in an event `log-lines-dropped`.
    """
    is_text = sys.stderr.isatty() if form is None else form == "text"
    least = logging.getLevelNamesMapping()[level.upper()]
    # structlog's lines for a terminal would show the values of variables in tracebacks, which may be secrets.
    write = (
        _make_writer(Console(color=color), _write_time_of_day) if is_text else _make_writer(_write_json, _write_time)
    )

    def report_dropped(count: int) -> str:
        is_wanted = least <= logging.WARNING
        return f"{write(None, 'warning', {'event': 'log-lines-dropped', 'count': count})}\n" if is_wanted else ""

    stream = sys.stderr if isinstance(sys.stderr, QueuedStream) else QueuedStream(sys.stderr, report_dropped)
    sys.stderr = stream
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
    event.pop("color_message", None)  # the same message again, for terminals
    event["event"] = str(event["event"]).strip()
    return event


def _make_writer(write_event: Callable[["EventDict"], str], write_time: Callable[[], str]) -> "Writer":
    """The only processor of structlog. It makes the whole line: several would cost twice as much."""

    def write(logger: "WrappedLogger", level: str, event: "EventDict") -> str:
        event["level"], event["timestamp"] = level, write_time()
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        return write_event(event)

    return write


def _write_json(event: "EventDict") -> str:
    """Writes JSON in ASCII. pydantic's encoder takes a third of the time of `json`, but does not escape. So lines with
    other characters, some of which control a terminal, are written by `json`."""
    with contextlib.suppress(ValueError):  # half of a surrogate pair, or bytes that are not text
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
