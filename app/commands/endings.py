"""How a command or a worker ends that can't do its work, or has not begun it."""

import os
import signal
import sys

from ..errors import CannotStart


class CommandError(CannotStart):
    """A command can't continue. The text is one line that says what to do."""


def end_at_signals() -> None:
    """End the process at SIGINT and SIGTERM, after the last log lines: nothing has started yet that must be stopped. It
    raises no exception, since an import could swallow that."""

    def end(*_: object) -> None:
        if finish := getattr(sys.stderr, "finish", None):  # of a QueuedStream
            finish()
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def say_why(error: CannotStart) -> None:
    """Write to stderr why the process can't start."""
    for line in str(error).splitlines():
        print(f"nats-http: {line}", file=sys.stderr)
