"""The sockets of a gateway: one for its routes, and others for pages with their own address."""

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arguments import CommandError

if TYPE_CHECKING:
    from ..settings import Settings

_USUAL_HOSTS = "127.0.0.1 is for callers on this machine, 0.0.0.0 for all"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The socket for the routes, and `beside` it those for the addresses of pages."""

    main: socket.socket
    beside: Mapping[tuple[str, int], socket.socket]

    @property
    def addresses_beside(self) -> list[str] | None:
        """The addresses that only pages have, for the log. None if there are none."""
        return [f"{host}:{port}" for host, port in self.beside] or None

    @property
    def all(self) -> list[socket.socket]:
        """The socket for the routes, then the others."""
        return [self.main, *self.beside.values()]

    def close(self) -> None:
        """Close all sockets."""
        for listener in self.all:
            listener.close()


@contextmanager
def listen(settings: "Settings", host: str | None, port: int | None) -> Iterator[Listeners]:
    """Make sockets that listen until the end of the block. `host` and `port` win over the settings. Raises
    CommandError."""
    where = ("GATEWAY_HOST" if host is None else "--host"), "--port or PORT"
    place = (settings.host if host is None else host), (settings.port if port is None else port)
    with ExitStack() as stack:
        main = stack.enter_context(_bind(place, where))
        beside = {
            address: stack.enter_context(_bind(address, (name, name)))
            for address, name in settings.addresses_beside.items()
        }
        yield Listeners(main, beside)


@contextmanager
def inherit(settings: "Settings", fd: int, beside: Sequence[int]) -> Iterator[Listeners]:
    """The sockets of the parent process, which has the same settings."""
    with ExitStack() as stack:
        main, *others = [stack.enter_context(socket.socket(fileno=number)) for number in (fd, *beside)]
        yield Listeners(main, dict(zip(settings.addresses_beside, others, strict=True)))


def _bind(place: tuple[str, int], where: tuple[str, str]) -> socket.socket:
    """Make a socket that listens. `where` has the names of the settings for host and port, for the error."""
    from ..http.sockets import bind

    (host, port), (host_name, port_name) = place, where
    try:
        return bind(host, port)
    except (socket.gaierror, UnicodeError):  # UnicodeError: it can't be a host name
        raise CommandError(f"{host_name} '{host}': there is no such host; {_USUAL_HOSTS}") from None
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        if error.errno == errno.EADDRNOTAVAIL:
            reason = "this machine does not have that address"
            cure = f"set {host_name} to one that it has; {_USUAL_HOSTS}"
        else:
            cure = f"choose another with {port_name}"
        raise CommandError(f"can't listen on {host} port {port}: {reason}; {cure}") from None
