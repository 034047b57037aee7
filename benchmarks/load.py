"""Load from wrk, and what a process uses of the machine during a load."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What callers send. In `path` and `headers`, `{name}` is one of 10,000 names, drawn at random, and `{id}` is
    another id in each request. `pause` is how many milliseconds each thinks between two requests, on average; `fails`
    says that every answer is an error, as it should be; `credentials` is the file of those that they send in turn."""

    path: str
    connections: int = 64
    method: str = "GET"
    body: bytes | None = None
    headers: tuple[str, ...] = ()
    pause: int = 0
    fails: bool = False
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """`cpu_us` is user and system time a request of the process and its children; `responder_busy` the share of a core
    that the busiest responder took; `memory_mib` what is resident at the end."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    errors: int
    responder_busy: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """`cpu_us` is user and system time of the process and its children for each event that a caller got; `stream_kib`
    what each stream that is open, and idle, adds to their memory. `reader_busy` is the share of a core that the callers
    took. `missing` counts events that a caller did not get."""

    cpu_us: float
    p50_ms: float
    p99_ms: float
    stream_kib: float
    missing: int
    reader_busy: float


def measure(load: Load, address: str, pid: int, responders: Sequence[int], *, seconds: int, folder: Path) -> Sample:
    """One run of wrk. Raises CalledProcessError when wrk fails."""
    before, busy_before = read_cpu(pid), [read_cpu(one) for one in responders]
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "-s", str(SCRIPT), address]
    command += ["--", load.method, load.path, str(load.pause), _write_body(load.body, folder)]
    command += [str(folder / load.credentials) if load.credentials else "-", *load.headers]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = read_cpu(pid) - before
    busy = max(read_cpu(one) - start for one, start in zip(responders, busy_before, strict=True))
    found = json.loads(text.splitlines()[-1])
    failed = found["requests"] - found["failed"] if load.fails else found["failed"]
    unanswered = 0 if found["requests"] else load.connections
    return Sample(
        cpu_us=used / max(found["requests"], 1) * 1e6,
        rate=found["requests"] / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        memory_mib=read_memory(pid),
        errors=failed + found["lost"] + unanswered,
        responder_busy=busy / found["seconds"],
    )


def _write_body(body: bytes | None, folder: Path) -> str:
    if body is None:
        return "-"
    path = folder / "request-body"
    path.write_bytes(body)
    return str(path)


def read_cpu(pid: int) -> float:
    """Seconds of user and system time so far, of a process and its children."""
    return sum(sum(int(text) for text in _read_stat(one)[11:13]) for one in find_family(pid)) / TICK


def read_memory(pid: int) -> float:
    """MiB that are resident, of a process and its children."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(_read_stat(one)[21]) for one in find_family(pid)) * page / 2**20


def read_shared_memory(pid: int) -> int:
    """KiB of a process and its children; a page that they share counts once (PSS)."""
    return sum(read_pss(Path(f"/proc/{one}/smaps_rollup").read_text()) for one in find_family(pid))


def read_pss(text: str) -> int:
    """The KiB of the line `Pss:`."""
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def find_family(pid: int) -> list[int]:
    """A process and all that have come from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += [int(text) for text in (task / "children").read_text().split()]
    return found


def _read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that come after the name of the program."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
