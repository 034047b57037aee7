"""Counts the bytes written to a socket that the other side has not acknowledged yet."""

import contextlib
import fcntl
import socket
import sys
import termios


def count_unsent(connection: socket.socket) -> int:
    """The bytes in the kernel's buffer that the other side has not acknowledged (tcp(7): SIOCOUTQ, here TIOCOUTQ). 0 if
    the kernel does not say it, or if the socket is closed."""
    count = bytearray(4)
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
