"""The example services of `nats-http dev`: which there are, and when they answer."""

import contextlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from .processes import Children, make_command

REPLICAS = 2  # of each, in one queue group


class Examples:
    """The example services, REPLICAS processes each, once they are started. Each process writes a byte to one pipe when
    it is ready to answer."""

    def __init__(self) -> None:
        self._signs: int | None = None
        self._missing = 0

    def start(self, children: Children, environment: Mapping[str, str]) -> None:
        """Start REPLICAS of each service as children. Raises OSError."""
        self._signs, sign = os.pipe()
        os.set_blocking(self._signs, False)
        told = {**environment, "NATS_HTTP_DEV": str(sign)}
        for module in find_modules():
            for number in range(1, REPLICAS + 1):
                name = f"responders.{module.rpartition('.')[2]} {number}"
                children.start(name, make_command(module), env=told, pass_fds=(sign,))
                self._missing += 1
        os.close(sign)

    def answer(self, pattern: str) -> bool:
        """Whether one of those that were started answers such subjects: each begins with the name of its service."""
        names = {module.rpartition(".")[2] for module in find_modules()}
        return self._signs is not None and pattern.partition(".")[0] in names

    @property
    def are_up(self) -> bool:
        """Whether all of them have answered, or none was started."""
        if self._signs is not None and self._missing:
            with contextlib.suppress(BlockingIOError):  # nobody has written since
                self._missing -= len(os.read(self._signs, self._missing))
        return not self._missing


def find_modules() -> Iterator[str]:
    """Every public module of the package `responders`, each a service of its own. Where the gateway is installed, that
    package is inside of this one; in the repository it may be beside `app`."""
    inside = f"{__package__.partition('.')[0]}.responders"
    name = inside if find_spec(inside) else "responders"
    spec = find_spec(name)
    for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else (), f"{name}."):
        if not module.name.startswith(f"{name}._"):
            yield module.name
