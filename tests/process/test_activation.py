"""`nats-http serve` on sockets that it is given: by a stand-in for systemd, and by a tool of systemd."""

import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from app.http.sockets import bind
from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment
from tests.process.programs import PROGRAM, find_children, is_alive, wait_until_ready
from tests.systemd import run_service

SERVE = [*PROGRAM, "serve"]
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def find_url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, verify=NO_TLS, timeout=PATIENCE)


@WORKERS
def test_it_serves_on_the_given_socket_and_leaves_it_open(tmp_path: Path, own_nats: NatsServer, workers: str) -> None:
    with bind("127.0.0.1", 0) as listener:
        variables = {"NATS_URL": own_nats.url, "GATEWAY_WORKERS": workers, "PORT": "1"}
        with run_service(SERVE, tmp_path / "log", variables, sockets={"gateway.socket": listener}) as gateway:
            assert gateway.find(r'"address":"([^"]+)"') == find_url(listener)
            wait_until_ready(find_url(listener))
            assert gateway.stop() == 0
        with socket.create_connection(listener.getsockname()) as caller:  # the kernel takes it for the next gateway
            accepted, address = listener.accept()
            accepted.close()
            assert address == caller.getsockname()


@WORKERS
def test_a_page_is_served_on_the_socket_of_its_name(tmp_path: Path, own_nats: NatsServer, workers: str) -> None:
    with bind("127.0.0.1", 0) as main, bind("127.0.0.1", 0) as status:
        variables = {"NATS_URL": own_nats.url, "GATEWAY_WORKERS": workers, "GATEWAY_STATUS": "127.0.0.1:1"}
        sockets = {"status": status, "main": main}
        with run_service(SERVE, tmp_path / "log", variables, sockets=sockets) as gateway:
            wait_until_ready(find_url(main))
            assert get(f"{find_url(status)}/status").status_code == 200
            assert get(f"{find_url(main)}/status").status_code == 404
            assert gateway.stop() == 0


def test_no_child_has_the_variables_of_sockets(tmp_path: Path, own_nats: NatsServer) -> None:
    with bind("127.0.0.1", 0) as listener:
        variables = {"NATS_URL": own_nats.url, "GATEWAY_WORKERS": "2"}
        with run_service(SERVE, tmp_path / "log", variables, sockets={"main": listener}) as gateway:
            gateway.wait_for_connections(2)
            children = find_children(gateway.process.pid, "app")
            environments = [Path(f"/proc/{child}/environ").read_bytes() for child in children]
            assert len(environments) >= 3
            assert not any(b"LISTEN_" in environment for environment in environments)
            assert gateway.stop() == 0
            assert not any(is_alive(child) for child in children)


def test_sockets_that_do_not_fit_are_one_clear_line(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as one, bind("127.0.0.1", 0) as two:
        with run_service(SERVE, tmp_path / "log", {}, sockets={"a": one, "b": two}) as gateway:
            assert gateway.process.wait(PATIENCE) == 1
        assert gateway.log.startswith("nats-http: LISTEN_FDNAMES: the sockets 'a' and 'b' are both for the routes: ")
        assert len(gateway.log.splitlines()) == 1


def test_it_serves_on_the_socket_of_systemd_socket_activate(tmp_path: Path, own_nats: NatsServer, port: int) -> None:
    """systemd's own tool listens, and starts the gateway at the first connection."""
    tool = shutil.which("systemd-socket-activate")
    assert tool, "the Debian package systemd has it"
    environment = clean_environment(NATS_URL=own_nats.url)
    kept = [f"--setenv={name}" for name in ("NATS_URL", "PYTHONPATH", "PATH") if name in environment]
    command = [tool, f"--listen=127.0.0.1:{port}", "--fdname=main", *kept, *SERVE]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
        assert Path(f"/proc/{process.pid}/exe").readlink() == Path(SERVE[0]).resolve()
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
