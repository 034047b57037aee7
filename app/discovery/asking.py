"""Asks all services once what they say about themselves (`$SRV.INFO`, ADR-32)."""

import asyncio
import time
from collections.abc import Sequence

from ..errors import NotConnected
from ..nats.link import Link
from .infos import Info, Remark, Service, choose, read_info

WITHIN, STALL = 3.0, 0.5  # seconds for all answers, and after the last of them
MAX_INSTANCES = 10_000

_ALL = "$SRV.INFO"


async def ask_infos(link: Link, names: Sequence[str], *, connect_within: float) -> tuple[list[Service], list[Remark]]:
    """The services of these names, or all services if there are none, sorted by name. Raises a GatewayError if NATS
    can't be asked."""
    await _connect(link, connect_within)
    found: dict[str, list[Info]] = {}
    remarks: dict[Remark, None] = {}
    for subject in [f"{_ALL}.{name}" for name in names] or [_ALL]:
        gathered = await link.gather(subject, b"", within=WITHIN, stall=STALL, most=MAX_INSTANCES)
        if gathered.error is not None:
            raise gathered.error
        for reply in gathered.replies:
            if (read := read_info(reply.payload)) and (not names or read[0].name in names):
                found.setdefault(read[0].name, []).append(read[0])
                remarks |= dict.fromkeys(read[1])
    services: list[Service] = []
    for name in sorted(found):
        unique = list({info.id: info for info in found[name]}.values())
        more: list[Remark] = []
        services.append(choose(unique, more))
        remarks |= dict.fromkeys(more)
    return services, list(remarks)


async def _connect(link: Link, seconds: float) -> None:
    end = time.monotonic() + seconds
    while link.reason is not None and time.monotonic() < end:
        await asyncio.sleep(0.02)
    if link.reason is not None:
        raise NotConnected(f"There is no connection to NATS: {link.reason}.")
