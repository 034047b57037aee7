"""What a process does just now, for its log. A snapshot has names, numbers and addresses of NATS servers. It has no
path of a request, no address of a caller, no payload and no secret."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from .. import __version__
from ..gateway import Gateway
from ..http.server import GatewayServer
from ..http.survey import Unanswered
from ..nats.link import Link
from ..pieces import Steps, run_in_pieces
from ..routing.kinds import Subscribe
from .processes import Children
from .snapshot_signal import SIGNAL

MOST_ROWS = 20  # in each list
MOST_CALLS = 30  # of a blocked event loop
PATIENCE = 2.0  # seconds that an event loop may take to answer

_PART = 500  # tasks in one step
_MIB = 1024 * 1024

_log = structlog.get_logger("nats-http.snapshot")


class Row(dict[str, object]):
    """One item of a list: an object in JSON, and `name=value name=value` in text."""

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.items() if value is not None)


class Snapshots:
    """Snapshots of a process that serves. Make it in its event loop, and call `take` in another thread."""

    def __init__(self, gateway: Gateway, server: GatewayServer) -> None:
        self._gateway = gateway
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._started = datetime.now(UTC)

    def take(self) -> None:
        """Log what the process does. If its event loop is blocked, log where."""
        writing = self._write(time.monotonic())
        try:
            asyncio.run_coroutine_threadsafe(writing, self._loop).result(PATIENCE)
        except futures.TimeoutError:
            _write_line("loop-blocked", seconds=PATIENCE, stack=list(_list_calls(self._thread)))
        except (futures.CancelledError, RuntimeError):  # the process ends
            writing.close()

    async def _write(self, asked: float) -> None:
        delay = time.monotonic() - asked
        try:
            facts, rows = await run_in_pieces(self._describe())
        except Exception:  # a bug here must not end the answers
            _log.exception("snapshot-failed")
        else:
            _write_line("snapshot", **facts, loop_delay_ms=_to_ms(delay), **rows)

    def _describe(self) -> Steps[tuple[dict[str, Any], dict[str, list[Row]]]]:
        """The facts, and the lists."""
        gateway, survey = self._gateway, (yield from self._server.survey())
        tasks = yield from _count_tasks(self._loop)
        facts = {
            "phase": self._find_phase(),
            "pid": os.getpid(),
            "version": __version__,
            "started": self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "routes_loaded": len(gateway.serving.table.routes),
            "in_flight": sum(link.in_flight for link in gateway.clusters.links.values()),
            "connections": survey.connections,
            "idle_connections": survey.idle,
            "tls_handshakes": len(gateway.bounds.handshakes),
            "streams": gateway.streams.open,
            "memory_mib": _read_memory(),
            "cpu_seconds": round(time.process_time(), 2),
            "tasks_running": tasks.total(),
        }
        rows = {
            "requests": list(self._list_requests(survey.routes)),
            "nats": list(self._list_links()),
            "tasks": [Row(runs=name, count=count) for name, count in tasks.most_common(MOST_ROWS)],
        }
        return facts, rows

    def _find_phase(self) -> str:
        if self._gateway.drain.is_set():
            return "draining"
        return "serving" if self._server.started else "starting"

    def _list_requests(self, waiting: dict[str, Unanswered]) -> Iterator[Row]:
        """The routes whose requests wait for longest."""
        shown = sorted(waiting, key=lambda name: waiting[name].oldest, reverse=True)[:MOST_ROWS]
        kinds = {route.name: route.kind.word for route in self._gateway.serving.table.routes if route.name in waiting}
        for name in shown:
            found = waiting[name]
            kind = kinds.get(name)
            sent = None if kind == Subscribe.word else found.sent
            yield Row(route=name, kind=kind, count=found.count, sent=sent, oldest_ms=_to_ms(found.oldest))
        if rest := len(waiting) - len(shown):
            count = sum(found.count for name, found in waiting.items() if name not in shown)
            yield Row(other_routes=rest, count=count)

    def _list_links(self) -> Iterator[Row]:
        clusters = self._gateway.clusters
        for name, (link, feeds) in clusters.items():
            named = {"nats": name} if len(clusters) > 1 else {}
            yield Row(named | _describe_link("requests", link))
            if feeds.is_open:
                yield Row(named | _describe_link("streams", feeds.link), subscriptions=feeds.subscriptions)


def _describe_link(name: str, link: Link) -> Row:
    trip, lasted = link.round_trip, link.connected_for
    return Row(
        link=name,
        connected=link.server is not None,
        server=link.server,
        reason=link.reason,
        for_seconds=None if lasted is None else round(lasted, 1),
        reconnects=link.reconnects,
        round_trip_ms=None if trip is None else _to_ms(trip),
        pending=link.in_flight,
        backlog_bytes=link.backlog,
    )


def _count_tasks(loop: asyncio.AbstractEventLoop) -> Steps[Counter[str]]:
    """The number of tasks, by the name of the function that each of them runs."""
    counts = Counter[str]()
    for number, task in enumerate(asyncio.all_tasks(loop), 1):
        coroutine = task.get_coro()
        counts[getattr(coroutine, "__qualname__", type(coroutine).__name__)] += 1
        if number % _PART == 0:
            yield
    return counts


def _list_calls(thread: int) -> Iterator[str]:
    """The calls that a thread is in, the last one first. They have no values of variables."""
    calls = traceback.extract_stack(sys._current_frames().get(thread), limit=MOST_CALLS)
    for call in reversed(calls):
        yield f"{call.name} ({call.filename}:{call.lineno})"


def _read_memory() -> float | None:
    """The resident memory, if the system has /proc."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / _MIB, 1)
    return None


def _to_ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _write_line(event: str, **fields: object) -> None:
    """Write a line at any level of the log: somebody has asked for it."""
    _log.log(max(logging.INFO, _log.get_effective_level()), event, **fields)


def pass_on(children: Children) -> None:
    """Ask all workers for their snapshots, and log who they are."""
    workers = [Row(worker=child.name, pid=child.process.pid) for child in children.signal_all(SIGNAL)]
    _write_line("snapshot", phase="parent", pid=os.getpid(), version=__version__, workers=workers)
