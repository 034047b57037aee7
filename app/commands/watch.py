"""Notices that the route file was saved, for `nats-http dev`.

Laws:
1. What counts is that one of the files differs from how it was when it was last asked for: another time, size or inode,
   or that it is there or gone; of a folder in which files are sought, that it has other names, hidden ones aside. What
   the system tells of folders only says when to look.
2. A burst of changes, such as a save by an editor that renames, is looked at once it is over.
3. Where the system tells nothing (a symbolic link to elsewhere, a network file system) a look each second finds it.
"""

import asyncio
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from .reload import FileSource

BURST = 100  # milliseconds without a change that end a burst
MAX_BURST = 1000  # milliseconds after which it is looked at all the same
INTERVAL = 1000  # milliseconds between two looks without a notice from the system
COARSE = 10_000_000  # nanoseconds that a file system's clock may be behind

_State = tuple[int, int, int]


async def watch_files(source: FileSource) -> None:
    """Ask the source to read its file again once one of its files has changed. Never returns."""
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
        except OSError:  # a folder has just gone, or the system watches no more of them
            await asyncio.sleep(INTERVAL / 1000)
            await asyncio.to_thread(looks.look)


class Looks:
    """Compares the files of a source with how they were when it was last asked to read them."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._seen: Mapping[Path, _State | None] = {path: _find_state(path) for path in source.files}
        self._asked = time.time_ns()

    def look(self) -> None:
        """Ask the source if one of its files has changed. May wait for the file system."""
        states = {path: _find_state(path) for path in self._source.files}
        if any(self._has_changed(path, state) for path, state in states.items()):
            self._asked = time.time_ns()
            self._source.ask()
        self._seen = states

    def _has_changed(self, path: Path, state: _State | None) -> bool:
        if path in self._seen:
            return state != self._seen[path]
        return state is not None and state[0] > self._asked - COARSE  # the source knows of it since it was asked


def find_folders(files: Iterable[Path]) -> set[Path]:
    """Where these files are, or would be: a folder that is there."""
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
