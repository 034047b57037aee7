"""The sockets of a gateway: one for its routes, and others for pages with their own address."""

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..http.sockets import GivenSocket
from .activation import MAIN, PAGES
from .endings import CommandError

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

    @property
    def given(self) -> list[int]:
        """The file descriptors of the sockets that another process keeps open."""
        return [listener.fileno() for listener in self.all if isinstance(listener, GivenSocket)]

    def close(self) -> None:
        """Close all sockets."""
        for listener in self.all:
            listener.close()


@contextmanager
def listen(
    settings: "Settings", host: str | None, port: int | None, given: Mapping[str, GivenSocket] | None = None
) -> Iterator[Listeners]:
    """Make sockets that listen until the end of the block. `host` and `port` win over the settings. Sockets that are
    `given`, by `take_sockets`, are used instead of new ones. Raises CommandError."""
    where = ("GATEWAY_HOST" if host is None else "--host"), "--port or PORT"
    place = (settings.host if host is None else host), (settings.port if port is None else port)
    with ExitStack() as stack:
        if MAIN in (given := given or {}) and (option := _find_option(host, port)):
            raise CommandError(
                f"{option}: the gateway is given a socket that listens already (LISTEN_FDS): leave it out"
            )
        given_beside = _find_places(settings, given)
        main = stack.enter_context(given.get(MAIN) or _bind(place, where))
        beside = {
            address: stack.enter_context(given_beside.get(address) or _bind(address, (name, name)))
            for address, name in settings.addresses_beside.items()
        }
        yield Listeners(main, beside)


def _find_option(host: str | None, port: int | None) -> str | None:
    return "--host" if host is not None else "--port" if port is not None else None


def _find_places(settings: "Settings", given: Mapping[str, GivenSocket]) -> dict[tuple[str, int], GivenSocket]:
    """The sockets for pages, by the addresses of these pages. Raises CommandError."""
    places = {"status": (settings.status, "GATEWAY_STATUS"), "metrics": (settings.metrics, "GATEWAY_METRICS_ADDRESS")}
    found: dict[tuple[str, int], GivenSocket] = {}
    for use in PAGES:
        place, name = places[use]
        if use not in given:
            continue
        if not isinstance(place, tuple):
            raise CommandError(
                f"LISTEN_FDNAMES '{use}': {name} must be the address of this socket, and it is not set so"
            )
        if place in found:
            raise CommandError(f"LISTEN_FDNAMES '{use}': GATEWAY_STATUS and {name} are one address: give one socket")
        found[place] = given[use]
    return found


@contextmanager
def inherit(settings: "Settings", fd: int, beside: Sequence[int], given: Sequence[int] = ()) -> Iterator[Listeners]:
    """The sockets of the parent process, which has the same settings. `given` are those that it was given itself."""
    with ExitStack() as stack:
        kinds = [GivenSocket if number in given else socket.socket for number in (fd, *beside)]
        sockets = [kind(fileno=number) for kind, number in zip(kinds, (fd, *beside), strict=True)]
        main, *others = [stack.enter_context(listener) for listener in sockets]
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
