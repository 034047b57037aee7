"""That a route file is wrong."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import CannotStart


class RouteFileError(CannotStart):
    """A route file is wrong; `faults` has a line for each. `files` are those that it was to be read from, as far as is
    known."""

    def __init__(self, faults: Sequence[str], files: Sequence[Path] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
        self.files = tuple(files)
