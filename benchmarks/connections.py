"""`python -m benchmarks.connections`: the memory of idle connections, and of requests in flight.

It starts a gateway for each kind of caller, since a process does not give back all memory of connections that have
ended.
"""

import asyncio
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import nats

from benchmarks.instructions.cases import BROWSER
from benchmarks.load import read_shared_memory
from benchmarks.places import Place, Target
from benchmarks.targets import find_port, run_nats, run_target

ROUTES = Path(__file__).parent / "peers" / "connections.yaml"
COUNT = 3000  # connections
BEFORE = 200  # connections that are open before: what the first ones make is not memory of a connection
PAUSE = 2.0  # seconds until the memory is read
CALLERS = {"only the host": ("Host: 127.0.0.1",), "a browser": BROWSER}


def _build(place: Place) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "app", "serve", "--port", str(place.port)]
    return command, {"GATEWAY_ROUTES": str(ROUTES), "GATEWAY_LOG_LEVEL": "error"}


def _write(path: str, fields: tuple[str, ...]) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", *fields, "", "")).encode()


def _open(port: int, count: int, fields: tuple[str, ...], stack: ExitStack) -> list[socket.socket]:
    """Connections that have had three answers each, as those of real callers."""
    opened = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        opened.append(connection)
        for _ in range(3):
            connection.sendall(_write("/greet/sue", fields))
            if not connection.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("the gateway does not answer 200")
    time.sleep(PAUSE)
    return opened


def _measure(port: int, pid: int, fields: tuple[str, ...]) -> tuple[float, float]:
    """KiB of an idle connection, and how many more with a request in flight."""
    with ExitStack() as stack:
        _open(port, BEFORE, fields, stack)
        before = read_shared_memory(pid)
        opened = _open(port, COUNT, fields, stack)
        idle = read_shared_memory(pid)
        for connection in opened:
            connection.sendall(_write("/wait/sue", fields))
        time.sleep(PAUSE)
        return (idle - before) / COUNT, (read_shared_memory(pid) - idle) / COUNT


async def _keep_waiting(url: str, port: int, pid: int, fields: tuple[str, ...]) -> tuple[float, float]:
    """As `_measure`, with a service that never replies."""

    async def ignore(_: object) -> None: ...

    client = await nats.connect(url)
    await client.subscribe("wait.*", cb=ignore)
    await client.flush()
    found = await asyncio.to_thread(_measure, port, pid, fields)
    await client.close()
    return found


def _run(fields: tuple[str, ...]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder, run_nats(Path(folder)) as (url, _):
        place = Place(Path(folder), url, find_port(), extra_routes=0, workers=1, collector="")
        with run_target(Target("gateway", _build), place) as (_, pid):
            return asyncio.run(_keep_waiting(url, place.port, pid, fields))


def main() -> None:
    """Print a table."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| caller | KiB, idle connection | KiB more, request in flight |\n|---|---|---|")
    for caller, fields in CALLERS.items():
        idle, more = _run(fields)
        print(f"| {caller} | {idle:.1f} | {more:.1f} |")


if __name__ == "__main__":
    main()
