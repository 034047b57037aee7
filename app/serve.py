"""`nats-http serve`: the gateway in this process, or in several that share one listening socket."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import structlog

from app.handover import pack
from app.lanes import LaneName
from app.main import build_server, create_app
from app.processes import Child, Children
from app.reload import Feed, FileSource, PipeSource, serve_with
from app.settings import Settings
from app.sockets import describe_address

PATIENCE = 5.0  # seconds that a worker may take beyond its drain timeout
MIN_LIFE = 5.0  # seconds: a worker that ends sooner would do so again

_log = structlog.get_logger("nats-http.serve")


def serve_here(settings: Settings, listener: socket.socket, source: FileSource | PipeSource, *, lane: LaneName) -> None:
    """Serve until a signal, then drain; returns when all is closed. Raises RouteFileError."""
    app = create_app(settings, routes=source.load())
    server = build_server(app, lane=lane, drain_timeout=settings.drain_timeout)
    _log.info("listening", address=describe_address(listener))
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve_with(source, server, listener, app))
    _log.info("stopped")


@dataclass(slots=True)
class _Worker:
    child: Child
    feed: Feed
    born: float
    """The instant when it was started."""


def serve_with_workers(
    settings: Settings, listener: socket.socket, source: FileSource, *, count: int, lane: LaneName
) -> bool:
    """Serve with `count` worker processes until a signal; a worker that dies is replaced. False if one dies so soon
    that a new one would as well. Raises RouteFileError. All workers go by the routes that this process has read, also
    those that are started while the file does not hold."""
    package = pack(source.load())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _log.info("listening", address=describe_address(listener), workers=count)
    with Children(patience=settings.drain_timeout + PATIENCE) as children:
        names = [f"worker {number + 1}" for number in range(count)]
        workers = [_start_worker(children, name, listener, package, lane) for name in names]
        while not stop.wait(0.1):
            if fresh := source.load_if_asked():
                package = fresh
                for worker in workers:
                    worker.feed.send(package)
            child = children.find_ended()
            if child is None:
                continue
            _log.error("worker-ended", worker=child.name, exit_code=child.process.returncode)
            children.forget(child)
            ended = next(worker for worker in workers if worker.child is child)
            if time.monotonic() - ended.born < MIN_LIFE:
                children.ask_all_to_stop()
                return False
            workers[workers.index(ended)] = _start_worker(children, child.name, listener, package, lane)
        listener.close()
        source.close()
        children.ask_all_to_stop()
    _log.info("stopped")
    return True


def _start_worker(children: Children, name: str, listener: socket.socket, package: bytes, lane: LaneName) -> _Worker:
    fd = listener.fileno()
    command = [sys.executable, "-m", "app", "serve", "--fd", str(fd), "--lane", lane]
    child = children.start(name, command, pass_fds=[fd], stdin=subprocess.PIPE)
    assert child.process.stdin is not None  # noqa: S101 - it was asked for
    feed = Feed(child.process.stdin)
    feed.send(package)
    return _Worker(child, feed, time.monotonic())
