"""The gateway beside a plain FastAPI bridge: CPU per request, requests a second and latency, in the same run.

`make bench`, or `python -m benchmarks.compare [ROUNDS [SECONDS]]`. Needs wrk. The two are measured in turn, A B A B …,
with the same nats-server and responders; the table gives medians with min–max.
"""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.devserver import build_command, wait_for_url
from app.server import bind

CONNECTIONS = 64
RESPONDERS = 2
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """`cpu` is microseconds of user and system time of the process a request, `p99` milliseconds."""

    cpu: float
    rate: float
    p99: float
    errors: int


def main() -> None:
    rounds, seconds = (int(text) for text in (*sys.argv[1:], "5", "5")[:2])
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is not installed (Debian: apt install wrk)")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        url = start_nats(Path(directory), stack)
        targets = {
            "gateway, fast lane": start(stack, ["-m", "app", "serve"], url),
            "gateway, ASGI lane": start(stack, ["-m", "app", "serve", "--lane", "asgi"], url),
            "plain FastAPI": start(stack, ["-m", "uvicorn", "benchmarks.peers.plain_fastapi:app", *PLAIN], url),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in targets}
        for name, (address, pid) in list(targets.items()) * (rounds + 1):
            samples[name].append(measure(address, pid, seconds))
    print_table({name: found[1:] for name, found in samples.items()}, seconds)  # the first round warms up


PLAIN = ["--no-access-log", "--log-level", "warning"]


def start_nats(directory: Path, stack: contextlib.ExitStack) -> str:
    process = stack.enter_context(running([*build_command(directory), "-l", str(directory / "log")]))
    url = wait_for_url(directory, process)
    host, port = url.removeprefix("nats://").split(":")
    for _ in range(RESPONDERS):
        stack.enter_context(running([sys.executable, "-m", "benchmarks.responder", host, port]))
    return url


def start(stack: contextlib.ExitStack, arguments: list[str], nats_url: str) -> tuple[str, int]:
    """The address and the process id of a bridge that answers."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    environment = {**os.environ, "NATS_URL": nats_url}
    process = stack.enter_context(running([sys.executable, *arguments, "--port", str(port)], environment))
    address = f"http://127.0.0.1:{port}/greet/sue"
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(address) as response:
            assert response.read() == b'{"message":"hello, sue"}'
            return address, process.pid
        time.sleep(0.05)
    sys.exit(f"benchmarks: {arguments[1]} did not answer")


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def measure(address: str, pid: int, seconds: int) -> Sample:
    before = read_cpu(pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", address]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = read_cpu(pid) - before
    requests = int(find(r"(\d+) requests in", text))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    p99, unit = find(r"99%\s+([\d.]+)(?:us|ms|s)", text), find(r"99%\s+[\d.]+(us|ms|s)", text)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    rate = float(find(r"Requests/sec:\s+([\d.]+)", text))
    return Sample(used / requests * 1e6, rate, float(p99) * scale, int(errors[1]) if errors else 0)


def read_cpu(pid: int) -> float:
    """Seconds of user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def print_table(samples: dict[str, list[Sample]], seconds: int) -> None:
    count = len(next(iter(samples.values())))
    print(
        f"GET /greet/sue, {CONNECTIONS} connections, {count} rounds of {seconds} s, Python {sys.version.split()[0]}\n"
    )
    print("| | CPU µs a request | requests a second | p99 ms | errors |")
    print("|---|---|---|---|---|")
    for name, found in samples.items():
        cells = [spread([getattr(sample, field) for sample in found]) for field in ("cpu", "rate", "p99")]
        print(f"| {name} | {' | '.join(cells)} | {sum(sample.errors for sample in found)} |")
    *ours, plain = (statistics.median(sample.cpu for sample in found) for found in samples.values())
    ratios = ", ".join(f"{name}: {cpu / plain:.2f}" for name, cpu in zip(samples, ours, strict=False))
    print(f"\nCPU a request beside the plain bridge: {ratios}")


def spread(values: list[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:,.{0 if middle > 100 else 1}f} ({min(values):,.0f}–{max(values):,.0f})"


if __name__ == "__main__":
    main()
