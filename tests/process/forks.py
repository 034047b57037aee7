"""Python programs that start without their imports, which cost ten times what most tests ask of a program.

`fork` starts one as `python` with the same arguments does. It comes from a process that has imported what programs
here need, one for each process of pytest. It has arguments, an environment, a folder and streams of its own, and no
other open file. What it starts itself is an interpreter of its own.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

IMPORTS = (
    "app.commands.cli",
    "app.commands.dev",
    "app.commands.parent",
    "app.commands.serve",
    "app.commands.watch",
    "responders._lifecycle",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
MAX_REQUEST = 100_000  # bytes of arguments and environment


class Forked:
    """A program that was forked. It is used as a `subprocess.Popen` is."""

    def __init__(self, arguments: Sequence[str], answers: IO[str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._answers = answers
        self.pid = int(answers.readline())

    def poll(self) -> int | None:
        return self._look(0)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            with self._answers:
                self.returncode = int(self._answers.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]) -> Forked:
    """`python` with these arguments, the first of which is `-m`, `-c` or a script; `-P` may come before `-m` and
    `-c`. `streams` are its stdin, stdout and stderr."""
    read, write = os.pipe()
    try:
        request = json.dumps([str(Path.cwd()), list(arguments), dict(environment)]).encode()
        socket.send_fds(_start_parent(), [request], [write, *streams])
    finally:
        os.close(write)
    return Forked(arguments, os.fdopen(read))


@functools.cache
def _start_parent() -> socket.socket:
    """The process that forks ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_REQUEST)
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    with theirs:
        parent = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
    atexit.register(parent.wait)
    atexit.register(ours.close)
    return ours


def main() -> None:
    for name in IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    try:
        arguments = _fork_until_end(socket.socket(fileno=int(sys.argv[1])))
    except KeyboardInterrupt:  # it is for pytest
        return
    if arguments:
        _run(arguments)


def _fork_until_end(requests: socket.socket) -> list[str]:
    """Returns in each process that was forked, with its arguments, and without any when the requests end."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready = select.select([requests.fileno(), *running], [], [])[0]
        for pidfd in running.keys() & set(ready):
            _report(pidfd, *running.pop(pidfd))
        if requests.fileno() not in ready:
            continue
        request, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4)
        if not request:
            return []
        if (pid := os.fork()) == 0:
            requests.detach()
            return _become(request, fds[1:])
        for stream in fds[1:]:
            os.close(stream)
        os.write(fds[0], b"%d\n" % pid)
        running[os.pidfd_open(pid)] = pid, fds[0]


def _report(pidfd: int, pid: int, answers: int) -> None:
    """Tell who waits how the program ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)
    with os.fdopen(answers, "w") as file:
        file.write(f"{code}\n")


def _become(request: bytes, streams: Sequence[int]) -> list[str]:
    """The arguments of the program, after all else that it gets from outside."""
    folder, arguments, environment = json.loads(request)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets a command in the background ignore it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return [str(argument) for argument in arguments]


def _run(arguments: list[str]) -> None:
    sys.argv, sys.path[0] = arguments, str(Path.cwd())
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if arguments[0] == "-P":
        del arguments[0], sys.path[0]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})  # noqa: S102
    else:
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
