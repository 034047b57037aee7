"""The example services of `nats-http dev`."""

import contextlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from .processes import Children, make_command

REPLICAS = 2  # of each service, in one queue group
SINGLE = frozenset({"clock"})  # services with one process: two clocks would publish each tick twice


class Examples:
    """The processes of the example services: one for those in SINGLE, and REPLICAS for each
    other. Each process writes a byte to a common pipe when it is
    ready to answer."""

    def __init__(self) -> None:
        self._signs: int | None = None
        self._missing = 0

    def start(self, children: Children, environment: Mapping[str, str]) -> None:
        """Start the processes as children. Raises OSError."""
        self._signs, sign = os.pipe()
        os.set_blocking(self._signs, False)
        variables = {**environment, "NATS_HTTP_DEV": str(sign)}
        for module in find_modules():
            service = module.rpartition(".")[2]
            for number in range(1, 2 if service in SINGLE else REPLICAS + 1):
                children.start(f"responders.{service} {number}", make_command(module), env=variables, pass_fds=(sign,))
                self._missing += 1
        os.close(sign)

    def answer(self, pattern: str) -> bool:
        """Whether a started service answers these subjects. Its subjects begin with its name."""
        names = {module.rpartition(".")[2] for module in find_modules()}
        return self._signs is not None and pattern.partition(".")[0] in names

    @property
    def are_up(self) -> bool:
        """Whether all processes are ready, or none was started."""
        if self._signs is not None and self._missing:
            with contextlib.suppress(BlockingIOError):  # no news
                self._missing -= len(os.read(self._signs, self._missing))
        return not self._missing


def find_modules() -> Iterator[str]:
    """Every public module of the package `responders`. Each is a service. In an installed gateway the package is inside
    this one. In the repository it is beside `app`."""
    inside = f"{__package__.partition('.')[0]}.responders"
    name = inside if find_spec(inside) else "responders"
    spec = find_spec(name)
    for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else (), f"{name}."):
        if not module.name.startswith(f"{name}._"):
            yield module.name
