"""Real programs as subprocesses, and their children."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryFile

import httpx
import pytest

from app.commands.cli import main
from tests.harness import NO_TLS, PATIENCE, clean_environment
from tests.process.forks import Forked, fork

PROGRAM = [sys.executable, "-m", "app"]
PATIENT = {"GATEWAY_TIMEOUT": "20s"}  # of gateways whose service may have to wait for a processor

MAX_OUTPUT = 1024 * 1024  # bytes


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the console script does, in this process: a start would take ten times as long as what it does."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", clean_environment(**environment))
        patch.setattr(sys, "argv", ["nats-http", *arguments])
        with redirect_stdout(output), redirect_stderr(errors), pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(arguments, int(end.value.code or 0), output.getvalue(), errors.getvalue())


def start(command: list[str], environment: dict[str, str], output: int, errors: int) -> Forked | Popen[bytes]:
    """A program whose output goes to these files. One in Python is forked: its imports would take ten times as long
    as what it does."""
    if command[0] != sys.executable:
        return Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
    with Path(os.devnull).open() as nothing:
        return fork(command[1:], environment, [nothing.fileno(), output, errors])


def finish(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program prints until it ends by itself."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = start(command, clean_environment(**environment), output.fileno(), errors.fileno())
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        texts = [os.pread(file.fileno(), MAX_OUTPUT, 0).decode() for file in (output, errors)]
    return subprocess.CompletedProcess(command, code, *texts)


class Process:
    """A program whose output goes to a file. A gateway is patient, unless it is given a timeout of its own."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = start(command, clean_environment(**PATIENT | environment), file.fileno(), file.fileno())

    @property
    def folder(self) -> Path:
        """Where its log is."""
        return self._log.parent

    @property
    def log(self) -> str:
        return self._log.read_text()

    def find(self, pattern: str) -> str:
        """The first group of the pattern in the log, once it is there."""
        end = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.log)):
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        return match[1]

    def wait_for_connections(self, count: int) -> None:
        """Until so many processes, the workers, have connected to NATS: an answer of one says nothing of the others."""
        self.find(rf'(?s)((?:"event":"connected".*?){{{count}}})')

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def run(command: list[str], log: Path, **environment: str) -> Iterator[Process]:
    process = Process(command, log, **environment)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()


def wait_until_ready(url: str, *, path: str = "/readyz") -> None:
    """Until the gateway answers this path with 200."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(f"{url}{path}", trust_env=False, verify=NO_TLS, timeout=PATIENCE).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


def find_children(parent: int, word: str) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", word], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
