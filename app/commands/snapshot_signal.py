"""SIGUSR1: the gateway writes to its log what it does just now.

Laws:
1. The signal ends no process of a gateway. It is blocked before anything that takes long, and child processes inherit
   that. A signal that comes before the gateway can answer waits until then.
2. Without a signal it costs nothing: until then a thread sleeps in the kernel.
3. Between two answers there are PAUSE seconds. All signals that come meanwhile get one answer together.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE = 1.0  # seconds
SIGNAL = signal.SIGUSR1


def block_signal() -> None:
    """From now on the signal waits until `answering` takes it. Call this in the main thread, before any other thread
    starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (SIGNAL,))


@contextmanager
def answering(answer: Callable[[], None]) -> Iterator[None]:
    """Call `answer` at each signal, in a thread of its own."""
    block_signal()
    is_over = threading.Event()

    def run() -> None:
        while True:
            signal.sigwait((SIGNAL,))
            if is_over.is_set():
                return
            answer()
            is_over.wait(PAUSE)

    thread = threading.Thread(target=run, name="snapshots", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        if thread.ident is not None:
            signal.pthread_kill(thread.ident, SIGNAL)  # ends its sleep
