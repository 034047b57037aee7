"""Notices when the route file was saved, for `nats-http dev`.

Laws:
1. A file counts as changed if its time, size or inode differs from the last reading, or if it has appeared or vanished.
   A folder that is searched for files counts as changed if its names differ, without hidden ones. Notices of the system
   only say when to compare.
2. After a burst of changes, such as a save by an editor that renames files, the files are compared once.
3. The system sends no notices about some changes (a symbolic link to elsewhere, a network file system). A comparison
   every second finds these.
"""

import asyncio
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from .reload import FileSource

BURST = 100  # milliseconds without a change, after which a burst has ended
MAX_BURST = 1000  # milliseconds after which files are compared even during a burst
INTERVAL = 1000  # milliseconds between two comparisons without a notice
COARSE = 10_000_000  # nanoseconds by which the clock of a file system may be late

_State = tuple[int, int, int]


async def watch_files(source: FileSource) -> None:
    """Ask the source to read its files again when one of them has changed. It never returns."""
    looks = Looks(source)
    while True:
        folders = find_folders(source.files)
        try:
            async with aclosing(
                awatch(
                    *folders,
                    watch_filter=None,
                    recursive=False,
                    step=BURST,
                    debounce=MAX_BURST,
                    rust_timeout=INTERVAL,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                )
            ) as changes:
                async for _ in changes:
                    await asyncio.to_thread(looks.look)
                    if find_folders(source.files) != folders:
                        break
        except OSError:  # a folder has just been removed, or the system can watch no more folders
            await asyncio.sleep(INTERVAL / 1000)
            await asyncio.to_thread(looks.look)


class Looks:
    """Compares the files of a source with their state at its last reading."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._seen: Mapping[Path, _State | None] = {path: _find_state(path) for path in source.files}
        self._asked = time.time_ns()

    def look(self) -> None:
        """Ask the source to read again if one of its files has changed. It may wait for the file system."""
        states = {path: _find_state(path) for path in self._source.files}
        if any(self._has_changed(path, state) for path, state in states.items()):
            self._asked = time.time_ns()
            self._source.ask()
        self._seen = states

    def _has_changed(self, path: Path, state: _State | None) -> bool:
        if path in self._seen:
            return state != self._seen[path]
        return state is not None and state[0] > self._asked - COARSE  # it is new to the source


def find_folders(files: Iterable[Path]) -> set[Path]:
    """The folders of these files. If a folder does not exist, the nearest existing one above it."""
    places = [path.absolute() for path in files]
    return {next(folder for folder in (path, *path.parents) if folder.is_dir()) for path in places}


def _find_state(path: Path) -> _State | None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return 0, hash(frozenset(inner.name for inner in path.iterdir() if inner.name[0] != ".")), status.st_ino
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
