"""Processes of the tests: forked from one that has imported little, so that they start at once."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["__main__", "tests.bounds.bystander", "tests.bounds.sending", "tests.bounds.services"])
PATIENCE = 25.0  # seconds to wait for what a process has to say


def make_event() -> Event:
    """What processes can wait for."""
    return _context.Event()


@contextlib.contextmanager
def start(function: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """A process that calls this; it is killed at the end."""
    process = _context.Process(target=function, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


@contextlib.contextmanager
def start_teller(function: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """A process that calls this with the connection on which it tells what it has to say; it has said "ready"."""
    ours, theirs = _context.Pipe(duplex=False)
    with ours, start(function, *arguments, theirs):
        theirs.close()
        assert hear(ours) == "ready"
        yield ours


def hear(teller: Connection) -> object:
    """What a process says; None where it doesn't in time, or has ended."""
    with contextlib.suppress(EOFError):
        return teller.recv() if teller.poll(PATIENCE) else None
    return None
