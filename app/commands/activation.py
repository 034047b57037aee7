"""Listening sockets that the gateway is given when it starts: sd_listen_fds(3). systemd does this for a unit with a
`.socket`, and any other program can do it too. Whoever gives a socket keeps it open, so callers who come while one
gateway stops and the next one starts are not refused.
"""

import os
import socket
import sys
from collections.abc import Mapping

from ..http.sockets import GivenSocket, send_at_once
from .endings import CommandError

FIRST = 3
"""The file descriptor of the first socket, after stdin, stdout and stderr."""
MAIN = "main"
PAGES = ("status", "metrics")
"""The names of sockets for pages that have an address of their own. Any other name is that of the socket for routes."""


def take_sockets() -> Mapping[str, GivenSocket]:
    """The sockets for this process by their use: MAIN, or one of PAGES. No child process inherits them, or the
    variables. Raises CommandError."""
    from ..settings import take_variables

    found = take_variables("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    text = found.get("LISTEN_FDS", "0")
    if not text.isdecimal():
        raise CommandError(f"LISTEN_FDS '{text}': must be the number of sockets that the gateway is given")
    owner, pid = found.get("LISTEN_PID", ""), str(os.getpid())
    if owner != pid and text != "0":
        print(
            f"nats-http: warning: LISTEN_FDS is for process {owner or 'unknown'} (LISTEN_PID), and this is {pid}: its "
            "sockets are not used",
            file=sys.stderr,
        )
        return {}
    names = found["LISTEN_FDNAMES"].split(":") if "LISTEN_FDNAMES" in found else ["unknown"] * int(text)
    if len(names) != int(text):
        raise CommandError(f"LISTEN_FDNAMES '{':'.join(names)}': must have {text} names, the number in LISTEN_FDS")
    return _sort(dict(enumerate(names, FIRST)))


def _sort(names: Mapping[int, str]) -> Mapping[str, GivenSocket]:
    """Sockets by their use, from their file descriptors and names. Raises CommandError."""
    uses: dict[str, int] = {}
    for fd, name in names.items():
        use = name if name in PAGES else MAIN
        if use in uses:
            both = f"'{names[uses[use]]}' and '{name}'"
            raise CommandError(
                f"LISTEN_FDNAMES: the sockets {both} are both for {'the routes' if use == MAIN else name}: give one. "
                "Those for pages have the names status and metrics"
            )
        uses[use] = fd
    return {use: _adopt(fd, names[fd]) for use, fd in uses.items()}


def _adopt(fd: int, name: str) -> GivenSocket:
    """The socket with this file descriptor. Raises CommandError."""
    try:
        listener = GivenSocket(fileno=fd)
    except OSError as error:
        raise CommandError(f"LISTEN_FDS: file {fd} '{name}': {os.strerror(error.errno or 0).lower()}") from None
    if fault := _find_fault(listener):
        listener.detach()
        raise CommandError(f"LISTEN_FDS: socket {fd} '{name}': {fault}")
    listener.set_inheritable(False)
    send_at_once(listener)
    return listener


def _find_fault(listener: socket.socket) -> str | None:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return "it is not for TCP: give it a port, as in ListenStream=8000"
    if listener.type != socket.SOCK_STREAM:
        return "it is for datagrams: use ListenStream="
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it does not listen: a unit needs Accept=no"
    return None
