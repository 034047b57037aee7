"""The terminal of `nats-http top`. However it ends, the terminal is as before."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .top_output import Line

QUIT = b"q"

Wait = Callable[[float], bool]
"""Waits for so many seconds. Returns whether the person has asked to quit."""


class Screen:
    """The whole screen of a terminal. A context manager: at its end the terminal shows what it showed before."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    @property
    def can_be_used(self) -> bool:
        """Whether the output is a terminal that can move its cursor."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def size(self) -> tuple[int, int]:
        """The columns and the lines of the terminal now."""
        return self._console.size.width, self._console.size.height

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines, and nothing else."""
        texts = (Text(line.text, line.style, no_wrap=True, overflow="ellipsis") for line in lines)
        self._live.update(Group(*texts), refresh=True)

    @contextmanager
    def use(self) -> Iterator[Wait]:
        """Use the screen, and the keys, until the end of the context."""
        before = signal.signal(signal.SIGTERM, _exit)
        try:
            with self._live, _reading_keys() as wait:
                yield wait
        finally:
            signal.signal(signal.SIGTERM, before)


def _exit(*_: object) -> NoReturn:
    sys.exit(0)


@contextmanager
def _reading_keys() -> Iterator[Wait]:
    if not sys.stdin.isatty():
        yield _sleep
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield lambda seconds: _wait_for_quit(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _wait_for_quit(fd: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while select.select([fd], [], [], max(end - time.monotonic(), 0))[0]:
        keys = os.read(fd, 64)
        if not keys or QUIT in keys.lower():  # without keys the terminal has gone
            return True
    return False
