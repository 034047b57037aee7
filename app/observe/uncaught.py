"""Logs uncaught exceptions and Python's warnings in the same form as other events. asyncio logs its own exceptions
through `logging`."""

import sys
import threading
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_log = structlog.get_logger("nats-http.python")


def log_uncaught() -> None:
    """From now on, log uncaught exceptions of all threads, of finalizers and of callbacks, and warnings."""
    sys.excepthook = _log_of_main
    threading.excepthook = _log_of_thread
    sys.unraisablehook = _log_unraisable
    warnings.showwarning = _log_warning


def _log_of_main(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    _log.critical("uncaught-exception", exc_info=(kind, error, traceback))


def _log_of_thread(failed: threading.ExceptHookArgs) -> None:
    if not issubclass(failed.exc_type, SystemExit):
        name = failed.thread.name if failed.thread else None
        _log.error(
            "uncaught-exception", thread=name, exc_info=(failed.exc_type, failed.exc_value, failed.exc_traceback)
        )


def _log_unraisable(failed: "UnraisableHookArgs") -> None:
    """Logs no `repr` of the object, since it may contain anything."""
    place = getattr(failed.object, "__qualname__", type(failed.object).__qualname__)
    _log.error("unraisable-exception", place=place, exc_info=(failed.exc_type, failed.exc_value, failed.exc_traceback))


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - as `warnings` calls it
    line: str | None = None,  # noqa: ARG001
) -> None:
    _log.warning("python-warning", category=category.__name__, reason=str(message), place=f"{filename}:{lineno}")
