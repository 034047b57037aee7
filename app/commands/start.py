"""The console script: `nats-http`. It takes SIGHUP before it loads anything that takes long."""

import sys

from .hangups import Hangups


def main() -> None:
    """As `cli.main`. From now on a SIGHUP does not end the process. A gateway reloads when it serves."""
    hangups = Hangups() if sys.argv[1:2] in (["serve"], ["dev"]) else None
    from .cli import main as run

    run(hangups)
