"""What a soak reads about processes and the machine."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.harness import eventually
from tests.soak.gauge import find_left, parse_rollup, read
from tests.soak.lag import PAUSE, Lag


def test_memory_is_read_from_what_linux_says() -> None:
    text = "55d0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  10 kB\nPss_Anon:   4 kB\n"
    assert parse_rollup(text) == {"Rss": 10, "Pss_Anon": 4}


def test_a_process_is_measured_with_its_files() -> None:
    readings = []
    for number in (0, 1):
        code = (
            f"import os, sys; files = [open(os.devnull) for _ in range({number})]; print(flush=True); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            readings.append(read(process.pid))
            process.communicate()
    first, second = readings
    assert second.files == first.files + 1
    assert 0 < first.private < first.pss
    assert first.cpu >= 0


def test_a_process_that_is_left_is_found_by_its_command_or_its_environment(tmp_path: Path) -> None:
    assert find_left(tmp_path) == []
    wait = "import sys; sys.stdin.read()"
    for arguments, environment in (([str(tmp_path)], {}), ([], {"FOLDER": str(tmp_path)})):
        command = [sys.executable, "-c", wait, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **environment})
        try:
            assert [line.partition(":")[0] for line in find_left(tmp_path)] == [str(process.pid)]
        finally:
            process.communicate()
    assert find_left(tmp_path) == []


async def test_a_timer_that_comes_too_late_is_noticed() -> None:
    lag = Lag()
    async with lag.measuring():
        await asyncio.sleep(0)
        time.sleep(PAUSE + 0.05)
        await eventually(lambda: lag.worst)
    assert lag.worst >= 0.04
