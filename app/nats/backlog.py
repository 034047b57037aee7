"""How much of what was written to a socket its other side has not yet acknowledged."""

import contextlib
import fcntl
import socket
import sys
import termios


def count_unsent(connection: socket.socket) -> int:
    """Bytes in the kernel's buffer that the other side has not acknowledged; 0 where the kernel does not tell, or of a
    socket that is closed (tcp(7): SIOCOUTQ, here TIOCOUTQ)."""
    count = bytearray(4)
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
