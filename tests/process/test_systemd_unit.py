"""The unit in deploy/systemd: systemd's own tools accept it, and the gateway runs under what it forbids.

tests/cage.py does what systemd would do, except for mounts, namespaces and the user.
"""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.commands.parent import PATIENCE as WORKER_PATIENCE
from app.http.patience import LAST_WORDS
from app.http.process import OTHER_FILES
from app.http.protocol import RESERVE
from app.http.sockets import BACKLOG, bind
from app.routing.bodies import AT_ONCE
from app.settings import Settings
from tests.cage import find_allowed, read_unit
from tests.harness import NO_TLS, PATIENCE, NatsServer, replying, responder
from tests.process.programs import PROGRAM
from tests.process.test_reload import read_events, wait_for_outcomes
from tests.systemd import listen_to, run_service

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICE = FOLDER / "nats-http-gateway.service"
SOCKET = FOLDER / "nats-http-gateway.socket"
INSTALLED = "/opt/nats-http-gateway/bin/nats-http"
EXPOSURE = 1.2  # from 0 to 10: the network, Unix sockets, the file system, and the limits of resources remain

DEFAULTS = Settings.model_construct()
CAGE = [sys.executable, "-m", "tests.cage", str(SERVICE)]

ROUTES = """
version: 1
routes:
  - {name: one, method: GET, path: /one, subject: test.one}
  - name: checked
    method: POST
    path: /checked
    subject: test.one
    body_schema: {type: array}
"""


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies of both units, with a program that is there."""
    copies = [tmp_path / SERVICE.name, tmp_path / SOCKET.name]
    for unit, copy in zip((SERVICE, SOCKET), copies, strict=True):
        copy.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, sys.executable), encoding="utf-8")
    return copies


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "LANG": "C"}
    )


def test_systemd_finds_no_fault_in_the_units(units: list[Path]) -> None:
    done = analyze("verify", "--man=no", *map(str, units))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_may_be_a_template_too(units: list[Path]) -> None:
    """A copy is a second service on the same socket, which serves while the first one restarts."""
    units[0].with_name("nats-http-gateway@.service").write_text(units[0].read_text(encoding="utf-8"), encoding="utf-8")
    instance = units[0].with_name("nats-http-gateway@next.service")
    done = analyze("verify", "--man=no", str(instance), *map(str, units))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_find_a_fault(units: list[Path]) -> None:
    service = units[0]
    service.write_text(service.read_text(encoding="utf-8").replace("WatchdogSec=20", "WatchdogSec=soon"))
    assert "Failed to parse" in analyze("verify", "--man=no", str(service)).stderr


def test_the_service_is_exposed_as_little_as_we_say(units: list[Path]) -> None:
    done = analyze("security", "--offline=true", str(units[0]))
    match = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert match, done.stderr
    assert float(match[1]) <= EXPOSURE


def test_the_numbers_of_the_units_fit_those_of_the_gateway() -> None:
    service, listener = dict(read_unit(SERVICE)), dict(read_unit(SOCKET))
    assert float(service["TimeoutStopSec"]) > DEFAULTS.drain_timeout + WORKER_PATIENCE + LAST_WORDS
    assert int(service["LimitNOFILE"]) >= DEFAULTS.max_connections + RESERVE + OTHER_FILES
    assert service["Sockets"] == SOCKET.name
    assert listener["ListenStream"] == f"{DEFAULTS.host}:{DEFAULTS.port}"
    assert int(listener["Backlog"]) == BACKLOG


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.soak)])
async def test_the_gateway_runs_under_what_the_unit_forbids(tmp_path: Path, own_nats: NatsServer, workers: str) -> None:
    """It answers, checks a large body in a process of its own, reloads and stops."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    variables = {"NATS_URL": own_nats.url, "GATEWAY_WORKERS": workers, "WATCHDOG_USEC": "1000000"}
    with (
        bind("127.0.0.1", 0) as listener,
        listen_to(f"@{tmp_path}") as ear,
        run_service(
            [*CAGE, *PROGRAM, "serve", str(routes)], tmp_path / "log", variables, ear=ear, sockets={"main": listener}
        ) as gateway,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await asyncio.to_thread(ear.wait_for, "READY=1")
        async with (
            responder(own_nats.url, "test.one", replying(b"{}")),
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
        ):
            assert (await client.get("/one")).status_code == 200
            assert (await client.post("/checked", json=["x" * AT_ONCE])).status_code == 200
            assert (await client.post("/checked", json={"x": "x" * AT_ONCE})).status_code == 422
        gateway.process.send_signal(signal.SIGHUP)
        await wait_for_outcomes(gateway, 1)
        assert len(read_events(gateway, "routes-loaded")) == 1
        await asyncio.to_thread(ear.wait_for, "WATCHDOG=1")
        assert gateway.stop() == 0
    assert "Operation not permitted" not in gateway.log


PROBES = {
    "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)": "Operation not permitted",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)": "Operation not permitted",
    "os.chroot('/')": "Operation not permitted",
    "os.chown(sys.executable, 0, 0)": "Operation not permitted",
    "mmap.mmap(-1, 4096, prot=7)": "Permission denied",
    "socket.socket(socket.AF_INET)": "",
}


@pytest.mark.parametrize(("call", "expected"), PROBES.items())
def test_the_cage_forbids_what_the_unit_forbids(call: str, expected: str) -> None:
    program = f"import mmap, os, socket, sys\n{call}"
    done = subprocess.run([*CAGE, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (expected in done.stderr) if expected else (done.returncode == 0)


def test_the_filter_of_the_unit_has_what_servers_need_and_not_what_administrators_need() -> None:
    allowed = find_allowed([value for name, value in read_unit(SERVICE) if name == "SystemCallFilter"])
    assert {"accept4", "epoll_wait", "execve", "memfd_create", "setrlimit"} <= allowed
    assert not {"chown", "setuid", "ptrace", "mount", "bpf", "reboot", "init_module"} & allowed
