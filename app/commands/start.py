"""The console script: `nats-http`. It takes SIGHUP and SIGUSR1 before it loads anything that takes long."""

import sys

from .hangups import Hangups
from .snapshot_signal import block_signal


def main() -> None:
    """As `cli.main`. From now on neither SIGHUP nor SIGUSR1 ends the process of a gateway. It reloads, and says what it
    does, when it serves."""
    hangups = None
    if sys.argv[1:2] in (["serve"], ["dev"]):
        hangups = Hangups()
        block_signal()
    from .cli import main as run

    run(hangups)
