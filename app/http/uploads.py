"""The memory for request bodies that are still coming. No I/O, but it reads the clock.

Laws:
1. A body that does not come in one piece is read on only after memory for all of it is granted.
2. Memory is granted first come, first served, and never more than the limit.
3. While others wait, an incomplete upload that has had its memory for GRACE seconds is ended: a caller that stalls
   can't lock out the others.
"""

import time
from typing import Protocol

GRACE = 1.0  # seconds


class Upload(Protocol):
    """A request whose body comes in pieces."""

    def granted(self) -> None:
        """The memory is granted, so the upload may continue."""

    def evicted(self) -> None:
        """The upload must end, since another one gets its memory."""


class Uploads:
    """Grants at most `limit` bytes at once. After `forget` no method of the upload is called."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._granted: dict[Upload, int] = {}
        self._coming: dict[Upload, float] = {}
        """The instants at which uploads with an incomplete body were granted, the oldest first."""
        self._waiting: dict[Upload, int] = {}

    def ask(self, upload: Upload, size: int) -> bool:
        """Ask for `size` bytes. Returns whether they are granted now; if not, the upload waits. A size over the limit
        counts as the limit."""
        size = min(size, self.limit)
        if upload in self._granted or upload in self._waiting:
            return upload in self._granted
        if self._waiting or self.used + size > self.limit:
            self._waiting[upload] = size
            return False
        self._grant(upload, size)
        return True

    def is_waiting(self, upload: Upload) -> bool:
        """Whether the upload waits for memory."""
        return upload in self._waiting

    def complete(self, upload: Upload) -> None:
        """Note that the whole body has arrived. The upload keeps its memory until it is forgotten."""
        self._coming.pop(upload, None)

    def forget(self, upload: Upload) -> None:
        """Forget an upload that has ended in any way. Waiting uploads get its memory."""
        self._waiting.pop(upload, None)
        self._coming.pop(upload, None)
        self.used -= self._granted.pop(upload, 0)
        self._grant_next()

    def check(self, now: float) -> None:
        """Called every tenth of a second or so: law 3. `now` is an instant of `time.monotonic`."""
        for upload, since in list(self._coming.items()):
            if not self._waiting or now - since < GRACE:
                break
            self.forget(upload)
            upload.evicted()

    def _grant(self, upload: Upload, size: int) -> None:
        self.used += size
        self._granted[upload] = size
        self._coming[upload] = time.monotonic()

    def _grant_next(self) -> None:
        while self._waiting:
            upload, size = next(iter(self._waiting.items()))
            if self.used + size > self.limit:
                break
            del self._waiting[upload]
            self._grant(upload, size)
            upload.granted()
