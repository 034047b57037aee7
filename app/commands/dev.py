"""`nats-http dev`: runs NATS, the example services and the gateway with one command."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from ..certificates import Certificate
from ..edge.key_sets import IssuerKey
from ..formats.html import STATUS
from ..gateway import Gateway
from ..http.lane import LaneName
from ..http.server import GatewayServer
from ..http.sockets import describe_address
from ..main import build_gateway
from ..nats.link import Link
from ..observe.access import is_failure, log_record, make_storm
from ..observe.console import show_path
from ..observe.record import Observer, Observers, Record
from ..routefile.load import EXAMPLES, RouteFile
from ..settings import Settings, child_environment, is_color_wanted
from .banner import Banner
from .development import load_development_keys
from .embedded import LOG, PORT, build_command, find_last_words, is_free, wait_for_url
from .endings import CommandError
from .examples import Examples
from .extension import load_extension
from .hints import Hints
from .listeners import Listeners
from .processes import Children
from .reload import FileSource, serve_and_reload
from .trial import Trial, find_trial
from .watch import watch_files

NATS = "nats-server"
PATIENCE = 12.0  # seconds: an example service may take 10 to answer its last requests
WARM_UP = 10.0  # seconds that the banner waits for all parts

_log = structlog.get_logger("nats-http.dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The parts to start. With `embedded` a NATS server is one of them. It gets the port `nats_port`: None means PORT
    if it is free, and 0 any free port. With `examples` the example services are parts too."""

    embedded: bool
    nats_port: int | None
    examples: bool
    lane: LaneName | None
    extend: str | None


class PartEnded(Exception):
    """A part of the stack has ended by itself."""


def run_dev(settings: Settings, listeners: Listeners, source: FileSource, stack: Stack) -> None:
    """Serve until a signal. Raises RouteFileError, CertificateError, PartEnded, ServerMissing or RuntimeError. No
    process and no file is left behind."""
    certificate, file = source.load_certificate(), source.load()
    nats_port = _choose_port(stack)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True  # in case an import or a finalizer swallows the exception
        sys.exit(0)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    with (
        tempfile.TemporaryDirectory(prefix="nats-http-", ignore_cleanup_errors=True) as directory,
        Children(patience=PATIENCE, directory=directory) as children,
    ):
        if stack.embedded:
            settings = settings.with_embedded(_start_nats(children, Path(directory), nats_port))
        source.discover_at(settings.nats_variables)
        examples = Examples()
        if stack.examples:
            examples.start(children, child_environment(**settings.nats_variables))
        gateway = _build_gateway(settings, file, certificate, stack.extend)
        server = gateway.make_server(lane=stack.lane, drain_timeout=settings.drain_timeout)
        server.should_exit = stopped
        welcome = _Welcome(
            address=describe_address(listeners.main, scheme=settings.scheme),
            status=_find_status(settings, listeners),
            link=gateway.link,
            trial=find_trial(file.table, settings),
            examples=examples,
            notes=tuple(_note(stack, nats_port, source, file)),
        )
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_serve(server, listeners, gateway, source, welcome, children))


def _find_status(settings: Settings, listeners: Listeners) -> str | None:
    place = settings.status
    if isinstance(place, tuple):
        return f"{describe_address(listeners.beside[place])}{STATUS}"
    return f"{describe_address(listeners.main, scheme=settings.scheme)}{STATUS}" if place else None


def _choose_port(stack: Stack) -> int:
    """The port for the embedded server. 0 means any free port. Raises RuntimeError if the requested port is taken."""
    if stack.nats_port is None:
        return PORT if is_free(PORT) else 0
    if not is_free(stack.nats_port):
        raise RuntimeError(f"port {stack.nats_port} is taken: choose another with --nats-port; 0 picks a free one")
    return stack.nats_port


def _note(stack: Stack, nats_port: int, source: FileSource, file: RouteFile) -> Iterator[str]:
    """Sentences about the start that a person should read."""
    if any(source.declared.get("type") == "jwt" for source in file.sources):
        yield "This gateway accepts tokens of `nats-http token`. Only `nats-http dev` does."
    if stack.embedded and stack.nats_port is None and nats_port != PORT:
        yield f"Port {PORT} is taken, so NATS has another port, a new one at each start; --nats-port chooses one."
        yield f"If services of yours use the server on {PORT}: NATS_URL=nats://localhost:{PORT} nats-http dev"
    if not stack.embedded and not stack.examples and source.path == EXAMPLES:
        yield "NATS_URL is set, so the example services are not started; --examples starts them there."


def _start_nats(children: Children, directory: Path, port: int) -> str:
    """Start an embedded server, and return its address when it listens."""
    command = build_command(directory, "-l", str(directory / LOG), port=port or -1)
    return wait_for_url(directory, children.start(NATS, command).process)


def _build_gateway(settings: Settings, file: RouteFile, certificate: Certificate | None, extend: str | None) -> Gateway:
    """The gateway with hints. It logs successes and shows details of its health, unless the settings say otherwise."""
    switches = {name: getattr(settings, name) is not False for name in ("access_log", "health_details")}
    settings = settings.model_copy(update=switches)
    hints = Hints(lambda: gateway.serving.table, lambda: gateway.link.server or "localhost:4222")
    observers = _make_observers(hints, settings)
    gateway = build_gateway(
        settings, routes=file, observers=observers, certificate=certificate, load_development_keys=_load_keys
    )
    if extend:
        load_extension(extend)(gateway.app)
    return gateway


def _load_keys() -> tuple[IssuerKey, ...]:
    """The keys for development. If this user can have no keys, the result is empty, and the log has a warning."""
    try:
        return load_development_keys()
    except (CommandError, RuntimeError) as error:
        _log.warning("no-development-keys", reason=str(error))
        return ()


def _make_observers(hints: Observer, settings: Settings) -> Observers:
    """The access log with paths, which `serve` does not log, and hints."""

    def log(record: Record) -> None:
        log_record(record, path=show_path(record))

    def log_failure(record: Record) -> None:
        if is_failure(record):
            log(record)

    if settings.logs_successes:
        return Observers(failure=(log, hints), other=(log, hints), storm=make_storm())
    return Observers(failure=(log if settings.access_log else log_failure, hints), storm=make_storm())


async def _serve(
    server: GatewayServer,
    listeners: Listeners,
    gateway: Gateway,
    source: FileSource,
    welcome: "_Welcome",
    children: Children,
) -> None:
    asides = (_print_once_up(welcome, server), _watch_children(server, children), watch_files(source))
    tasks = [asyncio.create_task(aside) for aside in asides]
    await serve_and_reload(source, server, listeners, gateway)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _watch_children(server: uvicorn.Server, children: Children) -> None:
    """Stop the server when a child ends by itself. Then raise PartEnded."""
    while (child := children.find_ended()) is None:
        await asyncio.sleep(0.1)
    server.should_exit = True
    last_words = find_last_words(Path(children.directory))
    hint = f"its log ended with{last_words}" if child.name == NATS else "see its messages above"
    raise PartEnded(f"{child.name} ended with exit code {child.process.returncode}; {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Welcome:
    """The parts of the banner."""

    address: str
    status: str | None
    link: Link
    trial: Trial | None
    examples: Examples
    notes: tuple[str, ...]

    @property
    def is_due(self) -> bool:
        """Whether all parts are up."""
        return self.link.reason is None and self.examples.are_up

    def write(self) -> str:
        """The banner as lines, with the current state of the connection to NATS."""
        nats = f"nats://{self.link.server}" if self.link.server else f"not connected: {self.link.reason}"
        banner = Banner(
            address=self.address,
            status=self.status,
            nats=nats,
            trial=self.trial,
            is_answered=self.trial is not None and self.examples.answer(self.trial.pattern),
            notes=self.notes,
        )
        return banner.write(color=is_color_wanted(sys.stdout))


async def _print_once_up(welcome: _Welcome, server: uvicorn.Server) -> None:
    """Print the banner when all parts are up, or after WARM_UP."""
    end = time.monotonic() + WARM_UP
    while not server.started or not (welcome.is_due or time.monotonic() > end):
        await asyncio.sleep(0.02)
    print(welcome.write(), flush=True)
