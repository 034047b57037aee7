"""200 scrapes at once, and what other callers feel of them. The figures are printed (`pytest -s`).

Once in 15 s is how often a Prometheus asks; every second is more than any number of them do.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.gateways import GatewayProcess, run_gateway_process
from tests.harness import NatsServer
from tests.monitoring.load import run_fast_service, time_requests
from tests.process.programs import run

SCRAPES = 200
KINDS = {"nothing else": "", "200 × /livez": "/livez", "200 × /metrics": "/metrics"}
"""The second says how much of it is the cost of so many callers, whatever they ask."""
MOST = 3.0  # times p99 of the others: the machine may be slow and busy


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("every", "seconds", "count"), [(15, 15, 3), (1, 2, 7)], ids=["once in 15 s", "every second"])
async def test_200_scrapes_at_once_hardly_move_the_99th_percentile(
    tmp_path: Path, own_nats: NatsServer, every: int, seconds: int, count: int
) -> None:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with run_gateway_process(tmp_path, own_nats.url) as gateway, run_fast_service(own_nats.url, tmp_path):
        await time_requests(gateway.url, seconds=2)
        for _ in range(count):
            for kind, path in KINDS.items():
                with keep_bursting(gateway, path, tmp_path, every):
                    times[kind].append(await time_requests(gateway.url, seconds=seconds))
    medians = {kind: statistics.median(rounds) for kind, rounds in times.items()}
    alone = medians["nothing else"]
    for kind, median in medians.items():
        rounds = ", ".join(f"{each:.2f}" for each in sorted(times[kind]))
        print(f"p99 with {kind}, in {seconds} s: {median:.2f} ms, {median / alone - 1:+.0%} ({rounds})")
    assert medians["200 × /metrics"] <= MOST * max(alone, medians["200 × /livez"])


@contextlib.contextmanager
def keep_bursting(gateway: GatewayProcess, path: str, folder: Path, every: int) -> Iterator[None]:
    if not path:
        yield
        return
    command = [sys.executable, "-m", "tests.monitoring.burst", str(gateway.port), path, str(SCRAPES), str(every)]
    with run(command, folder / "burst.log") as burst:
        burst.find("(ready)")
        yield
        burst.find("(answered)")
