"""A text stream for stderr and stdout that never makes its caller wait. A write to a pipe that nobody reads would
block.

Laws:
1. `write` puts a text into a queue and returns. A thread writes it, in the order of the calls.
2. The queue is bounded. If a line does not fit, it is dropped and counted, and so is each later line until the queue
   moves. Then one line in their place says how many are missing.
3. The end of the process waits until all is written, for at most EXIT_PATIENCE.
4. One system call writes whole lines, at most PIPE_BUF bytes unless a single line is longer. So lines of several
   processes that share a pipe do not mix (pipe(7)).
5. A child that was made by fork has no such thread, and writes at once.
"""

import atexit
import contextlib
import io
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

MAX_BYTES = 1024 * 1024  # that wait to be written
MAX_LINES = 10_000  # that wait to be written
EXIT_PATIENCE = 1.0  # seconds that the end of the process waits
REST = 0.005  # seconds between two looks at the queue, so that a storm of lines costs few switches between threads


class QueuedStream(io.StringIO):
    """Replaces a stream that has a file descriptor. `report` makes a line of text that says how many lines are missing.
    Lines are missing if they did not fit into the queue, if their reader had gone, or if the disk was full."""

    def __init__(self, stream: TextIO, report: Callable[[int], str] = lambda _: "") -> None:
        super().__init__()
        self._fd = stream.fileno()
        self._is_terminal = stream.isatty()
        self._codec = (stream.encoding, stream.errors or "strict")
        self._report = report
        self._wake = threading.Lock()  # taken: the thread waits for its release
        self._wake.acquire()
        self._is_ending = False
        self._clear(is_direct=False)
        os.register_at_fork(after_in_child=self._clear)
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()
        atexit.register(self.finish)

    def _clear(self, *, is_direct: bool = True) -> None:
        self._lock = threading.RLock()  # a signal handler may write while its own thread is in `write`
        self._partial = b""  # an incomplete line
        self._waiting: list[bytes] = []
        self._size = 0  # bytes, including those that are being written
        self._dropped = 0  # lines since the thread last took the queue
        self._missing = 0  # lines that are not reported yet
        self._is_idle = True  # nobody is writing
        self._is_direct = is_direct  # no thread: `write` writes

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        """Put the text into the queue, as law 1 says. Returns its number of characters, also if it was dropped."""
        data = text.encode(*self._codec)
        with self._lock:
            if self._partial or not data.endswith(b"\n"):
                data = self._partial + data
                self._partial = b""
                if not data.endswith(b"\n") and len(data) < select.PIPE_BUF:
                    self._partial = data  # the rest of the line comes, or flush
                    return len(text)
            self._put(data)
        return len(text)

    def flush(self) -> None:
        """Queue an incomplete line as well. It does not wait; `finish` does."""
        if self._partial:
            with self._lock:
                data, self._partial = self._partial, b""
                self._put(data)

    def finish(self) -> None:
        """Wait until all is written, for at most EXIT_PATIENCE. After that `write` writes at once, or drops the text if
        the stream is blocked."""
        self.flush()
        self._is_ending = True
        self._wake_thread()
        self._thread.join(EXIT_PATIENCE)

    def _put(self, data: bytes) -> None:
        size = self._size + len(data)
        if self._dropped or size > MAX_BYTES or len(self._waiting) >= MAX_LINES:
            self._dropped += data.count(b"\n") or 1
        else:
            self._waiting.append(data)
            self._size = size
        if self._is_idle:
            self._is_idle = False
            self._begin()

    def _begin(self) -> None:
        if self._is_direct:
            self._write_waiting()
        else:
            self._wake_thread()

    def _wake_thread(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was woken already
            self._wake.release()

    def _run(self) -> None:
        while not self._is_direct:
            self._wake.acquire()
            self._write_waiting(REST)

    def _write_waiting(self, rest: float = 0.0) -> None:
        while (lines := self._take()) is not None:
            for chunk in _join(lines):
                if not self._write_now(chunk):
                    self._missing += chunk.count(b"\n")
                with self._lock:
                    self._size -= len(chunk)
            if self._missing and self._write_now(self._report(self._missing).encode(*self._codec)):
                self._missing = 0
            time.sleep(rest)

    def _take(self) -> list[bytes] | None:
        """All waiting lines. None if there are no new ones; then nobody is writing."""
        with self._lock:
            lines, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, 0
            self._missing += dropped
            if lines or dropped:
                return lines
            self._is_idle = True
            self._is_direct |= self._is_ending
            return None

    def _write_now(self, data: bytes) -> bool:
        """Write these bytes, and return whether it worked. If the reader has gone or the disk is full, log lines are
        lost, but no request fails."""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process has made the shared pipe non-blocking
                select.select([], [self._fd], [])
            except OSError:
                return False
        return True


def _join(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > select.PIPE_BUF:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield b"".join(chunk)
