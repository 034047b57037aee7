"""The console script: `nats-http`. It takes SIGHUP before it loads anything that takes long."""

import sys

from .hangups import Hangups


def main() -> None:
    """As `cli.main`. A SIGHUP at any time from now on is no end for a gateway: it reloads once it serves."""
    hangups = Hangups() if sys.argv[1:2] in (["serve"], ["dev"]) else None
    from .cli import main as run

    run(hangups)
