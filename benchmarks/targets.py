"""The gateway and its peers: how each is started. What isn't on this machine is told, and left out."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nats
import yaml
from nats.js.api import StorageType, StreamConfig

from app.commands.embedded import build_command, wait_for_url
from app.http.sockets import bind
from benchmarks.bridges import (
    FASTHTTP_GO,
    HERE,
    JAVASCRIPT,
    NATS_GO,
    PEERS,
    build_go,
    find_node,
    run_bun,
    run_mq_bridge,
    run_program,
    try_bun,
    try_mq_bridge,
)
from benchmarks.cases import (
    ASGI,
    BUN,
    FAST,
    FAST_COUNTED,
    FAST_OPEN,
    FAST_TIMED,
    FAST_TRACES,
    FAST_UNSEEN,
    FASTAPI,
    FASTHTTP,
    FASTSTREAM,
    FLOOR,
    GO,
    MQ_BRIDGE,
    MQ_BRIDGE_64,
    NCHAN,
    NGINX,
    NODE,
    OTHER_ASGI,
    OTHER_FAST,
    OTHER_STREAMS,
    STARLETTE,
    STREAMS,
)
from benchmarks.places import UNWRAPPED, Build, Place, Target

ROUTES = PEERS / "routes.yaml"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")  # where Debian puts it
RESPONDERS = 2


def _gateway(lane: str, checkout: Path) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-P", "-m", "app", "serve", "--lane", lane, "--port", str(place.port)]
        command += ["--workers", str(place.workers)] if place.workers > 1 else []
        return command, {"GATEWAY_ROUTES": str(_write_routes(place)), "PYTHONPATH": str(checkout)}

    return build


def _fast_with(**settings: str) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        command, environment = _gateway("fast", HERE)(place)
        return command, {**environment, **settings}

    return build


def _with_traces(place: Place) -> tuple[list[str], dict[str, str]]:
    sampling = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    return _fast_with(**sampling, OTEL_EXPORTER_OTLP_ENDPOINT=place.collector)(place)


def _write_routes(place: Place) -> Path:
    document = yaml.safe_load(ROUTES.read_text())
    document["routes"] += [
        {
            "name": f"extra{number}",
            "method": "GET",
            "path": f"/extra{number}/greet/{{name}}",
            "subject": "greet.{name}",
        }
        for number in range(place.extra_routes)
    ]
    path = place.folder / f"routes-{place.extra_routes}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _python(module: str) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-m", "uvicorn", f"benchmarks.peers.{module}:app", "--port", str(place.port)]
        command += ["--no-access-log", "--log-level", "warning", "--workers", str(place.workers)]
        return command, {"EXTRA_ROUTES": str(place.extra_routes)}

    return build


def _streams(checkout: Path) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        command, environment = _gateway("fast", checkout)(place)
        limits = {"GATEWAY_MAX_STREAMS": "11000", "GATEWAY_MAX_CONNECTIONS": "11000"}
        return command, {**environment, **limits, "GATEWAY_ROUTES": str(PEERS / "fanout.yaml")}

    return build


def _nginx(name: str) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        text = (PEERS / name).read_text().replace("MODULE", str(NCHAN_MODULE))
        path = place.folder / name
        path.write_text(text.replace("FOLDER", str(place.folder)).replace("PORT", str(place.port)))
        return ["nginx", "-p", str(place.folder), "-c", str(path)], {}

    return build


def find_nchan(module: Path = NCHAN_MODULE) -> str | None:
    """Why nginx with nchan can't run here, if it can't."""
    if shutil.which("nginx") is None:
        return "nginx is not installed"
    return None if module.exists() else "nchan is not installed (Debian: libnginx-mod-nchan)"


def find_targets(folder: Path, wanted: str, beside: Path | None) -> dict[str, Target]:
    """The targets by name, those that match the regular expression; those in Go are built. `beside` is another
    checkout of the gateway."""
    has_faststream = importlib.util.find_spec("faststream") is not None
    has_sdk = all(map(importlib.util.find_spec, ("opentelemetry", "opentelemetry.sdk")))
    targets = (
        Target(FAST, _gateway("fast", HERE)),
        Target(FAST_OPEN, _gateway("fast", HERE)),
        Target(FAST_UNSEEN, _fast_with(GATEWAY_METRICS_ADDRESS="off", GATEWAY_STATUS="off")),
        Target(FAST_COUNTED, _fast_with(GATEWAY_STATUS="off")),
        Target(FAST_TIMED, _fast_with(GATEWAY_SERVER_TIMING="on")),
        Target(FAST_TRACES, _with_traces, None if has_sdk else "opentelemetry-sdk is not installed"),
        *([Target(OTHER_FAST, _gateway("fast", beside))] if beside else ()),
        Target(ASGI, _gateway("asgi", HERE)),
        *([Target(OTHER_ASGI, _gateway("asgi", beside))] if beside else ()),
        _make_go_target(GO, folder / "go_bridge"),
        _make_go_target(FASTHTTP, folder / "fasthttp_bridge", FASTHTTP_GO),
        Target(NODE, run_program("node", JAVASCRIPT / "node_bridge.js"), find_node()),
        Target(BUN, run_bun, prepare=try_bun),
        Target(MQ_BRIDGE, run_mq_bridge(), prepare=try_mq_bridge, greeting=UNWRAPPED),
        Target(MQ_BRIDGE_64, run_mq_bridge(64), prepare=try_mq_bridge, greeting=UNWRAPPED),
        Target(STARLETTE, _python("plain_starlette")),
        Target(FASTAPI, _python("plain_fastapi")),
        Target(FASTSTREAM, _python("faststream_bridge"), None if has_faststream else "faststream is not installed"),
        Target(FLOOR, run_program(sys.executable, PEERS / "floor.py")),
        Target(NGINX, _nginx("nginx.conf"), None if shutil.which("nginx") else "nginx is not installed"),
        Target(STREAMS, _streams(HERE)),
        *([Target(OTHER_STREAMS, _streams(beside))] if beside else ()),
        Target(NCHAN, _nginx("nchan.conf"), find_nchan()),
    )
    chosen = [target for target in targets if re.search(wanted, target.name)]
    return {target.name: replace(target, missing=target.missing or target.prepare()) for target in chosen}


def _make_go_target(name: str, program: Path, *libraries: tuple[str, str]) -> Target:
    def prepare() -> str | None:
        return build_go(program, PEERS / program.name, (NATS_GO, *libraries))

    return Target(name, run_program(program), prepare=prepare)


@contextlib.contextmanager
def run_target(target: Target, place: Place) -> Iterator[tuple[str, int]]:
    """The address and the process id of a target that answers."""
    command, environment = target.build(place)
    with running(command, {**os.environ, "NATS_URL": place.nats_url, **environment}) as process:
        address = f"http://127.0.0.1:{place.port}"
        end = time.monotonic() + 120
        while not _answers(f"{address}/greet/sue", target.greeting):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{target.name} does not answer")
            time.sleep(0.05)
        yield address, process.pid


def _answers(url: str, greeting: bytes) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.read().strip() == greeting)
    return False


@contextlib.contextmanager
def run_nats(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """The address of a nats-server with a stream in memory, and the process ids of the responders behind it."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running([*build_command(folder), "-l", str(folder / "nats.log")]))
        url = wait_for_url(folder, process)
        asyncio.run(_make_stream(url))
        host, port = url.removeprefix("nats://").split(":")
        command = [sys.executable, "-m", "benchmarks.responder", host, port]
        yield url, [stack.enter_context(running(command)).pid for _ in range(RESPONDERS)]


async def _make_stream(url: str) -> None:
    client = await nats.connect(url)
    stream = StreamConfig(name="STORED", subjects=["stored.*"], storage=StorageType.MEMORY, max_msgs=1000)
    await client.jetstream().add_stream(stream)
    await client.close()


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def find_port() -> int:
    with bind("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])
