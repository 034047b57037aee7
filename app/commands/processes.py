"""Child processes that stop in order, and that never outlive their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self


def make_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules in its own process. That process searches the current folder for modules
    only if this process does, because `python -m` started it. In that folder a file such as `signal.py` would replace a
    library."""
    is_script = sys.modules["__main__"].__spec__ is None
    options = ["-P"] if is_script or sys.flags.safe_path else []
    return [sys.executable, *options, "-m", module, *arguments]


@dataclass(slots=True)
class Child:
    """A child process. `name` is for people."""

    name: str
    process: subprocess.Popen[bytes]
    asked: bool = False
    """Whether it was asked to stop. A second SIGTERM would cut its draining short."""


class Children:
    """A context manager for child processes. At its end it stops them, the newest first, with SIGTERM. After `patience`
    seconds, or at a signal, it sends SIGKILL.

    The children are in the process group of a guard. So a Ctrl-C reaches only the parent. If the parent is killed, the
    guard ends them and removes `directory`.
    """

    def __init__(self, *, patience: float, directory: str = "") -> None:
        self._patience = patience
        self.directory = directory
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        command = make_command(f"{__package__}.reaper", *filter(None, [self.directory]))
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hurry)
        for child in reversed(self._children):
            self._stop(child)
        os.killpg(self._guard.pid, signal.SIGKILL)  # the guard, and any child whose start was interrupted
        self._guard.wait()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> Child:
        """Start a child in the group of the guard, so that it ends with this process. `name` is for people. Raises
        OSError if the command can't be run."""
        process = subprocess.Popen(
            command, env=env, stdin=stdin, bufsize=0, process_group=self._guard.pid, pass_fds=pass_fds
        )
        child = Child(name, process)
        self._children.append(child)
        return child

    def ask_all_to_stop(self) -> None:
        """Ask all children to stop at the same time. The end of the context waits for them."""
        for child in self._children:
            self._ask(child)

    def signal_all(self, number: int) -> list[Child]:
        """Send a signal to all children that run. Returns them. Another thread may call this."""
        running = [child for child in self._children.copy() if child.process.poll() is None]
        for child in running:
            child.process.send_signal(number)
        return running

    def _hurry(self, *_: object) -> None:
        """Kill all children: a signal came while they were stopping."""
        for child in self._children:
            child.process.kill()

    def _ask(self, child: Child) -> None:
        if not child.asked:
            child.asked = True
            child.process.terminate()

    def _stop(self, child: Child) -> None:
        self._ask(child)
        try:
            child.process.wait(self._patience)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()

    def find_ended(self) -> Child | None:
        """A child that has ended by itself, if there is one."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def forget(self, child: Child) -> None:
        """Do not stop this child at the end: it has ended."""
        self._children.remove(child)
