"""SIGHUP: a reload, or the end of the terminal."""

import os
import signal
import sys


class Hangups:
    """SIGHUP, from the moment that this is made, so that none ends the process; they wait to be taken."""

    def __init__(self) -> None:
        # After nohup, and without a terminal, a hangup always means a reload.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_on_terminal()
        self.pending = False
        signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        if self._has_terminal and not _is_on_terminal():
            os.kill(os.getpid(), signal.SIGTERM)  # it was closed
        self.pending = True

    def take(self) -> bool:
        """Whether there was one since the last time."""
        was_pending, self.pending = self.pending, False
        return was_pending


def _is_on_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
