"""The benchmarks run; their figures are for people."""

import re
import subprocess
import sys

import pytest

from tests.harness import clean_environment


def run_benchmarks(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rounds", "1", "--seconds", "1", *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_messages_are_measured_too() -> None:
    lines = run_benchmarks("--only", "^publish", "--targets", "fast lane$").splitlines()
    rows = [line for line in lines if line.startswith("| gateway, fast lane |")]
    assert len(rows) == 2
    assert all(row.endswith("| 0 |") for row in rows)


@pytest.mark.parametrize("case", ["greet, 8 conn", "POST 64 KiB", "typed", "no responders"])
def test_a_case_is_measured_without_errors_beside_a_peer(case: str) -> None:
    lines = run_benchmarks("--only", case, "--targets", "fast lane|FastAPI").splitlines()
    rows = [re.split(r" *[|] *", line)[1:-1] for line in lines if line.startswith(("| gateway", "| FastAPI"))]
    assert [row[0] for row in rows] == ["gateway, fast lane", "FastAPI + nats-py"]
    for row in rows:
        assert float(row[1].split()[0].replace(",", "")) > 0
        assert row[-1] == "0"  # errors


ROUND_TRIPS = "^greet, 8 conn|^POST 1 KiB|^no responders"


@pytest.mark.parametrize("peer", ["Go fasthttp + nats.go", "Node.js + nats.js", "Bun + nats.js", "the least Python"])
def test_a_peer_greets_echoes_and_finds_nobody_or_is_left_out_by_name(peer: str) -> None:
    check_peer(peer, cases=3)


def test_mq_bridge_greets_and_echoes_or_is_left_out_by_name() -> None:
    check_peer("mq-bridge (Rust)", cases=2)


def check_peer(peer: str, cases: int) -> None:
    lines = run_benchmarks("--only", ROUND_TRIPS, "--targets", f"^{re.escape(peer)}$").splitlines()
    rows = [line for line in lines if line.startswith(f"| {peer} |")]
    missing = [line for line in lines if line.startswith(f"LEFT OUT: {peer}: ")]
    assert (len(rows), len(missing)) in ((cases, 0), (0, 1))
    assert all(row.endswith("| 0 |") for row in rows)
