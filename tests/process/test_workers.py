"""`nats-http serve --workers`: workers that are killed at any moment, and workers that can't start."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.commands.workers import FIRST_PAUSE
from tests.harness import NO_TLS, PATIENCE, NatsServer, eventually
from tests.process.programs import PROGRAM, Process, find_children, is_alive, run

SERVE = [*PROGRAM, "serve", "--workers", "2", "--port", "0"]
ADDRESS = r'"address":"(http://[^"]+)"'

# Python runs a module of this name at its start: a worker ends there, as with a library that is broken.
BROKEN = """
import os, sys
if any("commands.worker" in word for word in sys.orig_argv) and os.path.exists({path!r}):
    sys.exit("broken on purpose")
"""


def find_workers(gateway: Process) -> list[int]:
    return find_children(gateway.process.pid, "app.commands.worker")


def find_events(gateway: Process, name: str) -> list[dict[str, Any]]:
    lines = [line for line in gateway.log.splitlines() if line.startswith("{") and line.endswith("}")]
    return [event for event in map(json.loads, lines) if event["event"] == name]


async def kill_newborn(gateway: Process, others: set[int]) -> None:
    """Kill the next worker that is not one of these, before it can serve."""
    newborn: set[int] = set()

    def is_born() -> bool:
        newborn.update(set(find_workers(gateway)) - others)
        return bool(newborn)

    await eventually(is_born)
    for pid in newborn:
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not any(is_alive(pid) for pid in newborn))


@pytest.mark.soak
async def test_a_worker_that_is_killed_right_after_its_start_again_and_again_comes_back_and_the_other_serves(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    with run(SERVE, tmp_path / "log", NATS_URL=own_nats.url, GATEWAY_WORKERS="3") as gateway:  # the option wins
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        killed, survivor = find_workers(gateway)
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: not is_alive(killed))
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            assert (await client.get("/livez")).status_code == 200  # on a connection to the survivor that stays
            for _ in range(3):
                await kill_newborn(gateway, {survivor})
                assert (await client.get("/livez")).status_code == 200
            gateway.wait_for_connections(3)
            assert (await client.get("/livez")).status_code == 200
        assert survivor in find_workers(gateway)
        assert len(find_workers(gateway)) == 2
        ends = find_events(gateway, "worker-ended")
        assert len({event["worker"] for event in ends}) == 1
        assert [event["exit_code"] for event in ends] == [-signal.SIGKILL] * 4
        pauses = [event["next_start_in"] for event in ends]
        assert pauses[0] == FIRST_PAUSE
        assert all(pause in (2 * last, FIRST_PAUSE) for last, pause in pairwise(pauses))  # the latter after a long life
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("command", "environment"),
    [(SERVE, {}), ([*PROGRAM, "serve", "--port", "0"], {"GATEWAY_WORKERS": "2"})],
    ids=["option", "setting"],
)
def test_workers_that_can_never_start_end_the_gateway_with_1(
    tmp_path: Path, own_nats: NatsServer, command: list[str], environment: dict[str, str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN.format(path=str(tmp_path)))
    environment = {**environment, "NATS_URL": own_nats.url, "PYTHONPATH": str(tmp_path)}
    with run(command, tmp_path / "log", **environment) as gateway:
        assert gateway.process.wait(PATIENCE) == 1
    assert "broken on purpose" in gateway.log
    assert gateway.log.splitlines()[-1].startswith("nats-http: a worker ended right after its start")


@pytest.mark.soak
async def test_workers_that_can_t_start_any_more_leave_the_others_alone(tmp_path: Path, own_nats: NatsServer) -> None:
    """An update that goes wrong while the gateway runs: the workers that are left serve until it is undone."""
    mark = tmp_path / "mark"
    (tmp_path / "sitecustomize.py").write_text(BROKEN.format(path=str(mark)))
    with run(SERVE, tmp_path / "log", NATS_URL=own_nats.url, PYTHONPATH=str(tmp_path)) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        mark.touch()
        killed, survivor = find_workers(gateway)
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: len(find_events(gateway, "worker-ended")) >= 4)
        assert find_workers(gateway)[0] == survivor
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            assert (await client.get("/livez")).status_code == 200
        mark.unlink()
        gateway.wait_for_connections(3)
        assert gateway.stop() == 0


@pytest.mark.soak
async def test_all_workers_may_die_at_once(tmp_path: Path, own_nats: NatsServer) -> None:
    with run(SERVE, tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        for pid in find_workers(gateway):
            os.kill(pid, signal.SIGKILL)
        gateway.wait_for_connections(4)
        before = count_files(gateway), count_threads(gateway)
        for pid in find_workers(gateway):
            os.kill(pid, signal.SIGKILL)
        gateway.wait_for_connections(6)
        assert (count_files(gateway), count_threads(gateway)) == before  # nothing is left of those that ended
        assert gateway.stop() == 0


def count_files(gateway: Process) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def count_threads(gateway: Process) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/task").iterdir()))
