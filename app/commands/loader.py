"""Reads and checks a route file in a separate process, so that no request waits for it.

`python -m app.commands.loader FILE` writes a package to standard output: the routes, or the faults of the file. On
standard input it gets the services that were found on NATS, or nothing.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ..discovery.infos import Remark, Service, unpack_services
from ..exchange.plans import Limits, find_lowered
from ..prepared import pack, pack_faults
from ..routefile.files import must_be_waited_for
from ..routefile.load import RouteFileError, load_route_file
from ..routefile.pages import check_pages
from ..settings import load_settings

NICENESS = 5  # lets the gateway go first
LIMIT = 120  # seconds, in case the gateway has gone


def main() -> None:
    """Write the package of the file. The exit code is 0 if it was written."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends this process if the gateway has gone
    signal.alarm(LIMIT)
    gc.disable()
    os.nice(NICENESS)
    found = sys.stdin.buffer.read()
    sys.stdout.buffer.write(load(Path(sys.argv[1]), *(unpack_services(found) if found else ())))


def load(path: Path, services: Sequence[Service] = (), remarks: Sequence[Remark] = ()) -> bytes:
    """The package of a route file, with the services that were found."""
    try:
        if must_be_waited_for(path):
            raise RouteFileError([f"{path}: not a regular file"], [path])
        file, settings = load_route_file(path, services, remarks), load_settings()
        check_pages(settings, file.schemes, file.table.routes, file.files)
        return pack(file, lowered=find_lowered(file.table, Limits.of(settings)))
    except RouteFileError as error:
        return pack_faults(error.faults, error.files)


if __name__ == "__main__":
    main()
