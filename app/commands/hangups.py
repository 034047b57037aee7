"""SIGHUP: it means a reload, or the end of the terminal."""

import os
import signal
import sys


class Hangups:
    """Takes SIGHUP as soon as this object is made, so that it ends no process. A hangup then waits for `take`."""

    def __init__(self) -> None:
        # After nohup, or without a terminal, a hangup always means a reload.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_on_terminal()
        self.pending = False
        signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        if self._has_terminal and not _is_on_terminal():
            os.kill(os.getpid(), signal.SIGTERM)  # the terminal was closed
        self.pending = True

    def take(self) -> bool:
        """Whether there was a hangup since the last call."""
        was_pending, self.pending = self.pending, False
        return was_pending


def _is_on_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
