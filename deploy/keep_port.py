"""Keeps a port open and runs a gateway on it: `python keep_port.py 127.0.0.1 8000 nats-http serve routes.yaml`.

SIGHUP replaces the gateway. The next one serves before the last one stops, so no caller waits and nobody is refused. If
the next one does not start, the last one goes on. SIGTERM and Ctrl-C stop the gateway, and then this program.
"""

import os
import signal
import socket
import subprocess
import sys

TRIES = 300  # tenths of a second until a gateway must serve

asked: list[int] = []
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: asked.append(number))

host, port, *command = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
listener = socket.create_server((host, int(port)), family=family, backlog=2048)
os.dup2(listener.fileno(), 3)  # LISTEN_FDS=1 means this number

# The gateway says here that it serves, as to systemd.
news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
news.bind(f"\0keep-port-{os.getpid()}")
news.settimeout(0.1)
environment = {**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": f"@keep-port-{os.getpid()}"}


def hear() -> bytes:
    """The next message, or nothing after a tenth of a second."""
    try:
        return news.recv(4096)
    except TimeoutError:
        return b""


def start() -> subprocess.Popen[bytes] | None:
    """A gateway that serves; None if it does not come so far."""
    shell = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"]
    started = subprocess.Popen([*shell, *command], env=environment, pass_fds=[3], process_group=0)
    for _ in range(TRIES):
        if b"READY=1" in hear():
            return started
        if started.poll() is not None:
            return None
    started.kill()
    started.wait()
    return None


gateway = start()
while gateway and gateway.poll() is None:
    hear()
    while asked:
        if asked.pop(0) != signal.SIGHUP:
            gateway.terminate()
            sys.exit(gateway.wait())
        if following := start():
            gateway.terminate()
            gateway.wait()
            gateway = following
sys.exit("keep_port: the gateway has ended by itself")
