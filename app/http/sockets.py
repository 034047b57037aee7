"""Makes listening sockets, and reads the state of connections from the system."""

import select
import socket

BACKLOG = 2048  # connections that the kernel holds for us


class GivenSocket(socket.socket):
    """A listening socket that another process keeps open, such as systemd. A gateway that stops leaves the connections
    in its queue to the next gateway on the same socket, and does not shorten the queue."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 means any free port. Raises OSError if the address can't be used, socket.gaierror if
    there is no such host, and UnicodeError if no host can have this name."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.getaddrinfo(host, port, family)  # create_server would raise a plain OSError
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    send_at_once(listener)
    return listener


def send_at_once(listener: socket.socket) -> None:
    """Set TCP_NODELAY, which connections inherit. asyncio sets it on no connection of such a listener: head and body of
    a response are two writes, and the second would wait for the caller's delayed acknowledgement, 40 ms."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def describe_address(listener: socket.socket, *, scheme: str = "http") -> str:
    """The URL of a listening socket, for people."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def has_closed_its_half(connection: socket.socket) -> bool:
    """Whether the other side has closed its sending half. For a socket that nobody reads now. Only Linux says this."""
    return bool(_poll(connection, _CLOSED_HALF))


def is_reset(connection: socket.socket) -> bool:
    """Whether the connection is gone. For a socket that nobody reads now."""
    return bool(_poll(connection, 0) & (select.POLLHUP | select.POLLERR))


def _poll(connection: socket.socket, events: int) -> int:
    poll = select.poll()
    poll.register(connection.fileno(), events)
    return next((found for _, found in poll.poll(0)), 0)


_CLOSED_HALF = getattr(select, "POLLRDHUP", 0)
