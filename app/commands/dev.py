"""`nats-http dev`: NATS, the example responders and the gateway, from one command."""

import asyncio
import pkgutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import uvicorn

from ..errors import NoResponders, NotConnected
from ..http.lane import LaneName
from ..http.sockets import describe_address
from ..main import Gateway, build_gateway
from ..nats.link import Link
from ..routing.table import RouteTable
from ..settings import Settings, child_environment, is_color_wanted
from .embedded import build_command, wait_for_url
from .extension import load_extension
from .processes import Children
from .reload import FileSource, serve_and_reload

REPLICAS = 2  # of each example responder, in one queue group
PATIENCE = 12.0  # seconds; an example responder may take 10 to answer what it took
WARM_UP = 5.0  # seconds that the banner waits for a responder


class PartEnded(Exception):
    """A part of the stack ended by itself."""


def run_dev(
    settings: Settings,
    listener: socket.socket,
    source: FileSource,
    *,
    embedded: bool,
    lane: LaneName | None,
    extend: str | None,
) -> None:
    """Serve until a signal. Raises RouteFileError, PartEnded, ServerMissing or RuntimeError. Nothing is ever left
    behind."""
    file = source.load()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True  # for the case that the exception is swallowed, as an import or a finalizer can do
        sys.exit(0)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    with (
        tempfile.TemporaryDirectory(prefix="nats-http-", ignore_cleanup_errors=True) as directory,
        Children(patience=PATIENCE, directory=directory) as children,
    ):
        if embedded:
            settings = settings.with_embedded(_start_nats(children, Path(directory)))
        _start_responders(children, child_environment(**settings.nats_variables))
        told = {name: getattr(settings, name) is not False for name in ("access_log", "health_details")}
        settings = settings.model_copy(update=told)
        gateway = build_gateway(settings, routes=file)
        if extend:
            load_extension(extend)(gateway.app)
        server = gateway.make_server(lane=lane, drain_timeout=settings.drain_timeout)
        server.should_exit = stopped
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_serve(server, listener, children, gateway, source, _find_example(file.table)))


def _start_nats(children: Children, directory: Path) -> str:
    """The address of an embedded server that listens."""
    server = children.start("nats-server", [*build_command(directory), "-l", f"{directory}/nats.log"])
    return wait_for_url(directory, server.process)


def _start_responders(children: Children, environment: dict[str, str]) -> None:
    for module in _find_responders():
        for number in range(1, REPLICAS + 1):
            children.start(f"{module} {number}", [sys.executable, "-m", module], env=environment)


def _find_responders() -> Iterator[str]:
    """The example services: every public module of the package `responders`, each a process of its own."""
    spec = find_spec("responders")
    for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else None, "responders."):
        if not module.name.startswith("responders._"):
            yield module.name


async def _serve(
    server: uvicorn.Server,
    listener: socket.socket,
    children: Children,
    gateway: Gateway,
    source: FileSource,
    example: str,
) -> None:
    asides = [
        asyncio.create_task(_welcome(server, describe_address(listener), gateway.link, example)),
        asyncio.create_task(_watch(server, children)),
    ]
    await serve_and_reload(source, server, listener, gateway.serving)
    for aside in asides:
        aside.cancel()
    for outcome in await asyncio.gather(*asides, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _watch(server: uvicorn.Server, children: Children) -> None:
    """Stop the server when a child ends by itself. Raises PartEnded."""
    while (child := children.find_ended()) is None:
        await asyncio.sleep(0.1)
    server.should_exit = True
    raise PartEnded(f"{child.name} ended with exit code {child.process.returncode}; see its messages above")


async def _welcome(server: uvicorn.Server, address: str, link: Link, example: str) -> None:
    """Print the banner, once each example answers, or after a while all the same."""
    while not server.started:
        await asyncio.sleep(0.01)
    end = time.monotonic() + WARM_UP
    for module in _find_responders():
        await _wait_for_service(link, module.rpartition(".")[2], end)
    lines = [
        ("gateway", address),
        ("API docs", f"{address}/docs"),
        ("health", f"{address}/readyz"),
        ("NATS", f"nats://{link.server}" if link.server else f"not connected: {link.reason}"),
    ]
    width = max(len(name) for name, _ in lines)
    text = "\n".join(f"  {_bold(name.ljust(width))}  {value}" for name, value in lines)
    print(f"\n{text}\n\n  try: curl {address}{example}\n", flush=True)


async def _wait_for_service(link: Link, name: str, end: float) -> None:
    """Until an instance answers (ADR-32), or the instant `end`."""
    while time.monotonic() < end:
        outcome = await link.request(f"$SRV.PING.{name}", b"", b"", end)
        if not isinstance(outcome, NoResponders | NotConnected):
            return
        await asyncio.sleep(0.02)


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if is_color_wanted(sys.stdout) else text


def _find_example(table: RouteTable) -> str:
    """A path of the first route that a browser can ask; a parameter without an example is filled with its name."""
    paths = (route.example_path for route in table.routes if "GET" in route.methods)
    return next(paths, "/docs").translate({ord("{"): None, ord("}"): None})
