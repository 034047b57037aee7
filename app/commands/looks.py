"""Notices that a file of a running gateway has changed, by comparing its state from time to time.

Laws:
1. A file counts as changed if its time, size or inode differs from the last comparison, or if it has appeared or
   vanished. A folder that is searched for files counts as changed if its names differ, without hidden ones.
2. Symbolic links are followed. Kubernetes replaces the files of a ConfigMap or a Secret by changing a link.
3. No request waits for the file system: a thread compares.
"""

import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from .reload import FileSource

INTERVAL = 1.0  # seconds between two comparisons
COARSE = 10_000_000  # nanoseconds by which the clock of a file system may be late

_State = tuple[int, int, int]
_States = Mapping[Path, _State | None]


class Looks:
    """Compares the files of a source with their state at its last reading."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._seen: _States = {path: _find_state(path) for path in source.all_files}
        self._asked = time.time_ns()

    def look(self) -> None:
        """Ask the source to read again if one of its files has changed. It may wait for the file system."""
        states = {path: _find_state(path) for path in self._source.all_files}
        if any(self._has_changed(path, state) for path, state in states.items()):
            self._asked = time.time_ns()
            self._source.ask()
        self._seen = states

    def _has_changed(self, path: Path, state: _State | None) -> bool:
        if path in self._seen:
            return state != self._seen[path]
        return state is not None and state[0] > self._asked - COARSE  # it is new to the source


def look_in_background(source: FileSource) -> None:
    """Look every INTERVAL, in a thread that lives as long as the process. Call this before the source loads."""
    looks = Looks(source)

    def look_for_ever() -> None:
        while True:
            time.sleep(INTERVAL)
            looks.look()

    threading.Thread(target=look_for_ever, name="looks", daemon=True).start()


def _find_state(path: Path) -> _State | None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return 0, hash(frozenset(inner.name for inner in path.iterdir() if inner.name[0] != ".")), status.st_ino
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
