"""Watches services in a process of its own, so that no request waits for what they say.

`python -m app.commands.discoverer FORGET_AFTER NATS NAME…` writes a line with all services of this NATS cluster to
standard output, whenever they change. The settings say where it is. It ends when its standard input does.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from ..discovery.infos import Remark, Service, pack_services
from ..discovery.watcher import Watcher
from ..nats.link import Link
from ..observe.log import configure_logging
from ..settings import load_settings

NICENESS = 5  # lets the gateway go first
MAX_IN_FLIGHT = 1024


def main() -> None:
    """Watch until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the gateway, whose end is the end of this process
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.nice(NICENESS)
    asyncio.run(_watch(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))


async def _watch(forget_after: float, nats: str, names: Sequence[str]) -> None:
    settings = load_settings()
    servers = settings.nats[nats]
    configure_logging(color=False, form=settings.log_format, level="error")  # the gateway says that NATS is away
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    async with Link(servers.nats_url, max_in_flight=MAX_IN_FLIGHT, credentials=servers.credentials) as link:
        watching = asyncio.create_task(Watcher(link, names, forget_after=forget_after, tell=_tell).run())
        await asyncio.wait({watching, asyncio.create_task(ended.wait())}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()


def _tell(services: Sequence[Service], remarks: Sequence[Remark]) -> None:
    sys.stdout.buffer.write(pack_services(services, remarks) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
