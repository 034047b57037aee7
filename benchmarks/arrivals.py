"""`python -m benchmarks.arrivals`: how long 1,000 callers who come together wait for their first answer, and for each
later one. A percentile of all answers mixes both, and depends on how long the run is.
"""

import argparse
import os
import random
import re
import resource
import select
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import FAST, GO, OTHER_FAST
from benchmarks.credentials import write_credentials
from benchmarks.load import read_cpu
from benchmarks.places import Place
from benchmarks.targets import find_port, find_targets, run_nats, run_target

TARGETS = f"^({'|'.join(map(re.escape, (FAST, OTHER_FAST, GO)))})$"
NAMES = 10_000
LONGEST = 65536  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from the end of a request until its answer was read: those of the first request of each connection, and
    of all others. The first ones include the wait until the connection is accepted. `cpu` is seconds of the target."""

    first: Sequence[float]
    later: Sequence[float]
    seconds: float
    cpu: float


class Callers:
    """Connections that are all opened at once, and each send a request as soon as they are open, or have the answer to
    the one before."""

    def __init__(self, port: int, count: int, stack: ExitStack) -> None:
        self._epoll = stack.enter_context(select.epoll())
        self._sent: dict[int, float] = {}
        self._head = f"GET /greet/name%d HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            self._epoll.register(connection, select.EPOLLOUT)

    def ask(self, seconds: float) -> tuple[list[float], list[float]]:
        """The waits for first answers and for later ones. Who has no answer at the end has waited at least until then.
        Raises RuntimeError for an answer that is not 200."""
        first: list[float] = []
        later: list[float] = []
        sent, clock, opening = self._sent, time.monotonic, select.EPOLLOUT
        end, waiting = clock() + seconds, set[int]()
        while (left := end - clock()) > 0:
            for fd, event in self._epoll.poll(left):
                if event & opening:
                    self._epoll.modify(fd, select.EPOLLIN)
                    waiting.add(fd)
                else:
                    answer = os.read(fd, LONGEST)
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        raise RuntimeError(f"an answer is not 200: {answer[:200]!r}")
                    (first if fd in waiting else later).append(clock() - sent[fd])
                    waiting.discard(fd)
                os.write(fd, self._head % random.randrange(NAMES))  # noqa: S311 # a name, no secret
                sent[fd] = clock()
        return first + [clock() - sent[fd] for fd in waiting], later


def measure(port: int, pid: int, count: int, seconds: float) -> Waits:
    """What so many callers wait, who come together."""
    with ExitStack() as stack:
        callers = Callers(port, count, stack)
        before, began = read_cpu(pid), time.monotonic()
        first, later = callers.ask(seconds)
        return Waits(first, later, time.monotonic() - began, read_cpu(pid) - before)


def describe(name: str, waits: Waits) -> str:
    """A row of the table."""
    answers = len(waits.first) + len(waits.later)
    cells = [f"{waits.cpu / answers * 1e6:.1f}", f"{answers / waits.seconds:,.0f}"]
    for found in (waits.first, waits.later):
        ordered = sorted(found)
        cells += [f"{ordered[len(ordered) * percent // 100] * 1e3:.1f}" for percent in (50, 99)]
    return " | ".join(("", name, *cells, "")).strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arrivals")
    parser.add_argument("--targets", default=TARGETS, metavar="PATTERN", help="a regular expression")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout of the gateway, measured as well")
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("Milliseconds of callers who come together.\n")
    print("| | CPU µs a request | requests a second | first p50 | first p99 | later p50 | later p99 |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, run_nats(Path(folder)) as (url, _):
        write_credentials(Path(folder), ())
        targets = find_targets(Path(folder), options.targets, options.beside)
        for _ in range(options.rounds):
            for target in targets.values():
                place = Place(Path(folder), url, find_port(), extra_routes=0, workers=1, collector="")
                with run_target(target, place) as (_, pid):
                    print(describe(target.name, measure(place.port, pid, options.callers, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
