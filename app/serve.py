"""`nats-http serve`: the gateway in this process, or in several that share one listening socket."""

import signal
import socket
import sys
import threading
import time

import structlog

from app.main import create_app
from app.processes import Children
from app.server import GatewayServer, build_config, describe_address
from app.settings import Settings

PATIENCE = 5.0  # seconds that a worker may take beyond its drain timeout
MIN_LIFE = 5.0  # seconds: a worker that ends sooner would do so again

_log = structlog.get_logger("nats-http.serve")


def serve_here(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal, then drain; returns when all is closed."""
    app = create_app(settings)
    _log.info("listening", address=describe_address(listener))
    GatewayServer(build_config(app), drain_timeout=settings.drain_timeout).run([listener])
    _log.info("stopped")


def serve_with_workers(settings: Settings, listener: socket.socket, count: int) -> bool:
    """Serve with `count` worker processes until a signal; a worker that dies is replaced. False if one dies so soon
    that a new one would as well."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _log.info("listening", address=describe_address(listener), workers=count)
    with Children(patience=settings.drain_timeout + PATIENCE) as children:
        born = {name: _start_worker(children, name, listener) for name in (f"worker {n + 1}" for n in range(count))}
        while not stop.wait(0.1):
            child = children.find_ended()
            if child is None:
                continue
            _log.error("worker-ended", worker=child.name, exit_code=child.process.returncode)
            children.forget(child)
            if time.monotonic() - born[child.name] < MIN_LIFE:
                children.ask_all_to_stop()
                return False
            born[child.name] = _start_worker(children, child.name, listener)
        listener.close()
        children.ask_all_to_stop()
    _log.info("stopped")
    return True


def _start_worker(children: Children, name: str, listener: socket.socket) -> float:
    """The instant when it was started."""
    fd = listener.fileno()
    children.start(name, [sys.executable, "-m", "app", "serve", "--fd", str(fd)], pass_fds=[fd])
    return time.monotonic()
