"""A real redis-server for the tests."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Self

from tests.harness import PATIENCE, reserve_port


class RedisServer:
    """A redis-server on loopback that can be stopped, frozen and started again on the same port. `options` are those
    of its command line."""

    def __init__(self, port: int, *options: str) -> None:
        self._port = port
        self._options = options
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process: subprocess.Popen[bytes]

    def start(self) -> Self:
        usual = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        command = ("redis-server", "--port", str(self._port), *usual, *self._options)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < end, "redis-server does not start"
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.01)
        return self

    def ask(self, command: str) -> bytes:
        """The first line of the answer to an inline command."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as connection:
            connection.sendall(f"{command}\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.readline().strip()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG"
        except OSError:
            return False


@contextlib.contextmanager
def run_redis(*options: str) -> Iterator[RedisServer]:
    with reserve_port() as port:
        server = RedisServer(port, *options).start()
        try:
            yield server
        finally:
            server.stop()
