"""A caller who does no harm: a process that asks all the time, and notes how long each answer took."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

PATIENCE = 20.0  # seconds; an answer that takes longer counts as that
GAP = 0.005  # seconds between an answer and the next question


@dataclass(frozen=True, slots=True)
class Wait:
    """One answer. `machine` is the part of the wait in which the gateway or the bystander was ready to run and other
    processes had the cores: proc(5), schedstat."""

    at: float
    seconds: float
    machine: float
    fault: str

    @property
    def caused(self) -> float:
        """Seconds for which the gateway is to blame."""
        return max(0.0, self.seconds - self.machine)


@dataclass(frozen=True, slots=True)
class Question:
    """A GET. `field` is a header field, if there is any."""

    path: str
    field: str = ""

    def write(self, *fields: str) -> bytes:
        """Its bytes."""
        lines = (f"GET {self.path} HTTP/1.1", "Host: t", *fields, *((self.field,) if self.field else ()), "", "")
        return "\r\n".join(lines).encode()


class _Caller:
    """Asks one question, on a connection that is kept and on fresh ones."""

    def __init__(self, port: int, question: Question, speaks_tls: bool) -> None:
        self._port = port
        self._question = question
        self._speaks_tls = speaks_tls
        self._kept: socket.socket | None = None

    def ask_kept(self) -> int:
        """The status. Where the gateway has closed the connection between two questions, another takes its place, as
        with any client."""
        if self._kept is not None:
            with contextlib.suppress(ConnectionError):
                return self._ask(self._kept)
        self.close()
        self._kept = _open(self._port, self._speaks_tls)
        return self._ask(self._kept)

    def ask_fresh(self) -> int:
        """The status."""
        return get(self._port, self._question, speaks_tls=self._speaks_tls)[0]

    def close(self) -> None:
        """What it keeps."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _ask(self, connection: socket.socket) -> int:
        return ask(connection, self._question.write())[0]


def watch(port: int, question: Question, speaks_tls: bool, pid: int, stop: Event, results: Connection) -> None:
    """Ask in both ways by turns, until it is stopped; then tell all waits."""
    waits: list[Wait] = []
    caller = _Caller(port, question, speaks_tls)
    results.send("ready")
    while not stop.wait(GAP):
        waits.append(_measure(pid, caller.ask_fresh))
        waits.append(wait := _measure(pid, caller.ask_kept))
        if wait.fault:
            caller.close()
    caller.close()
    results.send(waits)


def _measure(pid: int, ask: Callable[[], int]) -> Wait:
    began, delay, fault = time.monotonic(), _read_delays(pid), ""
    try:
        status = ask()
        fault = "" if status == 200 else f"was answered {status}"
    except OSError as error:
        fault = f"had a {type(error).__name__}"
    return Wait(began, time.monotonic() - began, _read_delays(pid) - delay, fault)


def get(port: int, question: Question, *, speaks_tls: bool = False) -> tuple[int, bytes]:
    """Status and body. OSError where there is no answer."""
    with _open(port, speaks_tls) as connection:
        return ask(connection, question.write("Connection: close"))


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Send a request; status and body of its answer. OSError where there is none."""
    connection.sendall(request)
    head, _, body = _receive(connection, b"", lambda data: b"\r\n\r\n" in data).partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    if length is None:
        raise ConnectionError(head.decode("latin-1"))
    body = _receive(connection, body, lambda data: len(data) >= int(length[1]))
    return int(head[9:12]), body


def _receive(connection: socket.socket, data: bytes, is_enough: Callable[[bytes], bool]) -> bytes:
    while not is_enough(data):
        more = connection.recv(65_536)
        if not more:
            raise ConnectionResetError("closed")
        data += more
    return data


def _open(port: int, speaks_tls: bool) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not speaks_tls:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def _read_delays(pid: int) -> float:
    """Seconds so far in which the main thread of that process, and this one, were ready to run and did not."""
    total = 0
    for name in (str(pid), "self"):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{name}/schedstat").read_text().split()[1])
    return total / 1e9
