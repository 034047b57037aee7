"""`nats-http serve` under a stand-in for systemd: what it says about itself (sd_notify)."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.harness import NatsServer
from tests.process.programs import PROGRAM, find_children, wait_until_ready
from tests.process.test_reload import write_routes
from tests.process.test_serve import ADDRESS
from tests.systemd import Ear, listen_to, run_service

SERVE = [*PROGRAM, "serve", "--port", "0"]
WORKERS = pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.soak)])


def read_environment(pid: int) -> set[str]:
    """The names of the variables with which a process has started."""
    return {line.partition(b"=")[0].decode() for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}


@WORKERS
async def test_systemd_learns_of_start_reload_and_stop(tmp_path: Path, own_nats: NatsServer, workers: str) -> None:
    routes = tmp_path / "routes.yaml"
    write_routes(routes, "one")
    variables = {"NATS_URL": own_nats.url, "GATEWAY_ROUTES": str(routes), "WATCHDOG_USEC": "200000"}
    with (
        listen_to(f"@{tmp_path}") as ear,
        run_service([*SERVE, "--workers", workers], tmp_path / "log", variables, ear=ear) as gateway,
    ):
        assert ear.hear() == ["READY=1", "STATUS=Serving 1 route"]
        wait_until_ready(gateway.find(ADDRESS))
        ear.wait_for("WATCHDOG=1")
        write_routes(routes, "one", "two")
        gateway.process.send_signal(signal.SIGHUP)
        assert hear_reload(ear) == ["STATUS=Serving 2 routes"]
        routes.write_text("version: 2\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert hear_reload(ear) == ["STATUS=Serving the old routes: the new ones have faults, see the log"]
        ear.wait_for("WATCHDOG=1")
        gateway.process.terminate()
        ear.wait_for("STOPPING=1")
        assert gateway.process.wait() == 0
    assert "systemd-not-told" not in gateway.log


def hear_reload(ear: Ear) -> list[str]:
    """What comes between the two messages of a reload."""
    lines = ear.hear()
    while lines[0] != "RELOADING=1":
        assert lines == ["WATCHDOG=1"]
        lines = ear.hear()
    between = []
    while (lines := ear.hear()) != ["READY=1"]:
        between += [line for line in lines if line != "WATCHDOG=1"]
    return between


async def test_a_frozen_event_loop_is_silent(tmp_path: Path, own_nats: NatsServer) -> None:
    """A page of an application that blocks for ever."""
    (tmp_path / "frozen.py").write_text(
        "import threading\n"
        "def extend(app):\n"
        "    @app.get('/freeze')\n"
        "    async def freeze():\n"
        "        threading.Event().wait()\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    variables = {"NATS_URL": own_nats.url, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1", "WATCHDOG_USEC": "200000"}
    command = [*SERVE, "--extend", "frozen:extend"]
    with (
        listen_to(f"@{tmp_path}") as ear,
        run_service(command, tmp_path / "log", variables, ear=ear) as gateway,
    ):
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        ear.wait_for("WATCHDOG=1")
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(b"GET /freeze HTTP/1.1\r\nHost: t\r\n\r\n")
            while ear.hears_within(1.0):
                ear.hear()
        gateway.process.send_signal(signal.SIGABRT)  # as systemd does
        assert gateway.process.wait() == -signal.SIGABRT
    assert "in freeze" in gateway.log  # the log says where it was


@WORKERS
def test_a_wrong_socket_of_systemd_is_one_warning_and_no_child_has_its_name(
    tmp_path: Path, own_nats: NatsServer, workers: str
) -> None:
    variables = {"NATS_URL": own_nats.url, "NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "100000"}
    with run_service([*SERVE, "--workers", workers], tmp_path / "log", variables) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        gateway.find('"event":"(systemd-not-told)"')
        gateway.wait_for_connections(int(workers))
        children = find_children(gateway.process.pid, "app")
        assert all("NOTIFY_SOCKET" not in read_environment(child) for child in children)
        assert len(children) >= (3 if workers == "2" else 0)
        assert gateway.stop() == 0
    assert gateway.log.count("systemd-not-told") == 1
