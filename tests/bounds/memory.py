"""How much memory a process takes, with those that it has started."""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

MIB = 1024 * 1024
SAMPLES = 0.02  # seconds between two
FAMILY_SAMPLES = 10  # after which it is seen whether there are new children
TOO_MUCH = 1536 * MIB  # at which the process is killed, before the machine suffers


class Memory:
    """The peak of a process since it was made, as the kernel noted it; and that of its children, by samples."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self.children = 0
        """The most that the children took together, in bytes; memory that several share is divided among them."""
        self.was_killed = False
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak begins anew
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def end(self) -> int:
        """The peak, in bytes."""
        self._stop.set()
        self._thread.join()
        return _read(self._pid, "VmHWM")

    def _sample(self) -> None:
        family = find_family(self._pid)
        count = 0
        while not self._stop.wait(SAMPLES):
            count += 1
            if count % FAMILY_SAMPLES == 0:
                family = find_family(self._pid)
            self.children = max(self.children, sum(_read_share(pid) for pid in family[1:]))
            if _read(self._pid, "VmRSS") > TOO_MUCH and not self.was_killed:
                self.was_killed = True
                os.kill(self._pid, signal.SIGKILL)


def measure(family: list[int]) -> int:
    """Resident bytes of these processes together."""
    return sum(_read(pid, "VmRSS") for pid in family)


def find_family(pid: int) -> list[int]:
    """A process and its children, with theirs."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    family = [pid]
    for member in family:
        family += parents.get(member, [])
    return family


def _read_share(pid: int) -> int:
    with contextlib.suppress(OSError):
        match = re.search(r"Pss:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(match[1]) * 1024 if match else 0
    return 0


def _read(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        match = re.search(rf"{name}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(match[1]) * 1024 if match else 0
    return 0
