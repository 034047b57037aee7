"""Notices when the route file was saved, for `nats-http dev`.

Laws:
1. `looks.py` says when a file counts as changed. Notices of the system only say when to compare.
2. After a burst of changes, such as a save by an editor that renames files, the files are compared once.
3. The system sends no notices about some changes (a symbolic link to elsewhere, a network file system). A comparison
   every second finds these.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch

from .looks import Looks
from .reload import FileSource

BURST = 100  # milliseconds without a change, after which a burst has ended
MAX_BURST = 1000  # milliseconds after which files are compared even during a burst
INTERVAL = 1000  # milliseconds between two comparisons without a notice


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


def find_folders(files: Iterable[Path]) -> set[Path]:
    """The folders of these files. If a folder does not exist, the nearest existing one above it."""
    places = [path.absolute() for path in files]
    return {next(folder for folder in (path, *path.parents) if folder.is_dir()) for path in places}
