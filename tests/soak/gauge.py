"""What a gateway takes of the machine, and which processes are left of a run. Linux says it in /proc."""

import asyncio
import contextlib
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import find_family, read_cpu
from tests.bounds.stage import count_connections
from tests.soak.plan import PATIENCE

SAMPLES, PAUSE = 5, 0.3  # readings of a gateway at rest, and seconds between two
SETTLE = 1.0  # seconds from the last connection to the first reading


@dataclass(frozen=True, slots=True)
class Reading:
    """A gateway with its workers. `pss` and `private` are MiB, `cpu` is seconds since its start.

    A page that several processes share counts once in `pss`, divided among all processes of the machine. So it changes
    when another program starts or ends. `private` is what is left of it without the pages of files.
    """

    pss: float
    private: float
    files: int
    cpu: float


def read(pid: int) -> Reading:
    """The present state."""
    family = find_family(pid)
    fields = [parse_rollup(Path(f"/proc/{one}/smaps_rollup").read_text()) for one in family]
    pss = sum(found["Pss"] for found in fields)
    private = sum(found["Pss_Anon"] + found["Pss_Shmem"] for found in fields)
    files = sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in family)
    return Reading(pss / 1024, private / 1024, files, read_cpu(pid))


def parse_rollup(text: str) -> dict[str, int]:
    """The KiB of each line of a smaps_rollup."""
    lines = [line.split() for line in text.splitlines()[1:]]
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) == 3}


async def read_at_rest(pid: int, port: int) -> Reading:
    """The median of several readings, when all callers have gone. Raises TimeoutError if they stay."""
    async with asyncio.timeout(PATIENCE):
        while count_connections(port):
            await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE)
    readings = []
    for _ in range(SAMPLES):
        readings.append(read(pid))
        await asyncio.sleep(PAUSE)
    return Reading(
        statistics.median(reading.pss for reading in readings),
        statistics.median(reading.private for reading in readings),
        int(statistics.median(reading.files for reading in readings)),
        readings[-1].cpu,
    )


def find_left(folder: Path) -> list[str]:
    """Processes whose command or environment names this folder, except this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_bytes()
            is_ours = str(folder).encode() in command + (path / "environ").read_bytes()
            if is_ours and int(path.name) != os.getpid():
                found.append(f"{path.name}: {command.replace(bytes(1), b' ').decode(errors='replace').strip()}")
    return found


def wait_until_none_left(folder: Path) -> list[str]:
    """Those that are left after some seconds: a killed process takes a moment to go."""
    end = time.monotonic() + PATIENCE
    while (left := find_left(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return left
