"""A process that ends its own process group when its parent has gone, for whatever reason.

`python -m app.commands.reaper DIRECTORY` reads standard input, which the parent keeps open, until its end. Then it asks
the group to stop, removes the directory, and kills all remaining processes.
"""

import os
import shutil
import signal
import sys
import time

PATIENCE = 2.0  # seconds from SIGTERM to SIGKILL


def main() -> None:
    """Wait for the end of the parent, then end the group. It never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(PATIENCE)
    for directory in sys.argv[1:]:
        shutil.rmtree(directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
