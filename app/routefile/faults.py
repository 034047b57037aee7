"""The error for a route file with faults."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import CannotStart


class RouteFileError(CannotStart):
    """A route file can't be used. `faults` has one line for each fault. `files` are the files that the gateway tried to
    read, as far as they are known."""

    def __init__(self, faults: Sequence[str], files: Sequence[Path] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
        self.files = tuple(files)
