"""A worker process of `nats-http serve`. It serves with the sockets, the memory and the pipe of its parent. It does not
load the command line, which would take 1.5 MiB in each worker.

`python -m app.commands.worker` gets what it inherits as JSON: see `Inherited`.
"""

import json
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Self

from ..errors import CannotStart
from ..http.lane import LaneName
from .endings import end_at_signals, say_why
from .snapshot_signal import block_signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """What a worker gets from its parent. Each number is a file descriptor.

    - `listener` is the socket for callers, and `beside` are those of other addresses. `given` are those among them that
      the parent was given itself.
    - `boards` is the memory that it shares with other processes, its own first.
    - `sign` is a pipe to which it writes a byte when it serves.
    - The parent writes routes and certificates to its standard input.
    """

    listener: int
    beside: list[int]
    given: list[int]
    boards: list[int]
    sign: int
    lane: LaneName | None
    extend: str | None

    @property
    def descriptors(self) -> list[int]:
        """All of its file descriptors, some of them twice."""
        return [self.listener, *self.beside, *self.given, *self.boards, self.sign]

    def encode(self) -> str:
        """The argument of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Self:
        return cls(**json.loads(text))


def main() -> None:
    """Serve until a signal. The exit code is 1 if it can't start; then the reason is on stderr."""
    block_signal()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent sends new routes
    end_at_signals()
    try:
        _serve(Inherited.decode(sys.argv[1]))
    except CannotStart as error:
        say_why(error)
        sys.exit(1)


def _serve(inherited: Inherited) -> None:
    from .lean import lean_imports

    with lean_imports():
        from ..observe.board import Boards
        from ..observe.log import configure_logging
        from ..settings import is_color_wanted, load_settings
        from .listeners import inherit
        from .pipes import PipeSource
        from .serve import run_gateway

    settings = load_settings()  # without a look at the files: one of them may be half replaced
    configure_logging(color=is_color_wanted(sys.stderr), form=settings.log_format, level=settings.log_level)
    with inherit(settings, inherited.listener, inherited.beside, inherited.given) as listeners:
        run_gateway(
            settings,
            listeners,
            PipeSource(sys.stdin.fileno(), has_certificate=settings.certificate_files is not None),
            lane=inherited.lane,
            extend=inherited.extend,
            boards=Boards.of_files(inherited.boards),
            sign_fd=inherited.sign,
        )


if __name__ == "__main__":
    main()
