import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.checks.checker import MAX_PROCESSES, MAX_WAITING, Checker, CheckFailed, Verdict
from app.errors import Draining, InvalidBody, Overloaded, Timeout
from app.formats.schemas import Schema
from app.routing.bodies import AT_ONCE, MAX_FAULTS, Check
from tests.harness import PATIENCE, eventually
from tests.process.programs import find_children, is_alive

ANYTHING = Schema(True)
FINE = Check(ANYTHING, b"[]")

# Where to make all errors takes seconds, or gigabytes, or for ever.
HOSTILE: dict[str, tuple[Any, Any]] = {
    "propertyNames": ({"propertyNames": {"pattern": "^[a-z]+$"}}, {f"K{i}": 1 for i in range(3000)}),
    "propertyNames in anyOf": ({"anyOf": [{"propertyNames": {"maxLength": 1}}]}, {f"K{i}": 1 for i in range(3000)}),
    "items": ({"items": {"type": "string"}}, [1] * 400_000),
    "anyOf": ({"items": {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "object"}]}}, [1] * 100_000),
    "anyOf in anyOf": ({"anyOf": [{"items": {"anyOf": [{"type": "null"}, {"type": "string"}]}}]}, [1] * 100_000),
    "many of the whole": ({"allOf": [{"type": "string"}] * 50}, [1] * 100_000),
    "recursion": (
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in ("x", "y")]},
        json.loads('{"a":' * 40 + "{}" + "}" * 40),
    ),
}


def make_check(schema: Any, value: Any) -> Check:
    return Check(Schema(schema), json.dumps(value).encode())


@pytest.fixture
async def checker() -> AsyncIterator[Checker]:
    async with Checker() as checker:
        yield checker
    assert find_processes() == []


def find_processes() -> list[int]:
    return find_children(os.getpid(), "app.checks.process")


async def run(checker: Checker, check: Check, timeout: float = PATIENCE) -> Verdict:
    return await checker.submit(check, time.monotonic() + timeout)


def may_run(pid: int) -> bool:
    """Whether it was not killed."""
    return " Z " not in Path(f"/proc/{pid}/stat").read_text()


async def freeze(checker: Checker) -> list[int]:
    """All processes that the checker may have, none of which does anything."""
    await asyncio.gather(*(run(checker, FINE) for _ in range(MAX_PROCESSES)))
    processes = find_processes()
    assert len(processes) == MAX_PROCESSES
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    return processes


async def test_a_body_is_found_to_be_as_it_should_be_or_told_what_is_wrong(checker: Checker) -> None:
    schema = {"items": {"type": "integer"}}
    assert await run(checker, make_check(schema, [1] * AT_ONCE)) is None
    wrong = await run(checker, make_check(schema, [1, "x", "y"]))
    assert isinstance(wrong, InvalidBody)
    assert wrong.errors == (("/1", 'it is not of type "integer"'), ("/2", 'it is not of type "integer"'))
    many = await run(checker, make_check(schema, ["x"] * 1000))
    assert isinstance(many, InvalidBody)
    assert len(many.errors) == MAX_FAULTS
    unreadable = await run(checker, Check(ANYTHING, b"[NaN]"))
    assert isinstance(unreadable, InvalidBody)
    assert unreadable.detail == "The body can't be read as JSON."
    assert unreadable.errors == (("", "it has NaN, which is not JSON"),)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_body_whose_faults_are_without_end_is_refused_all_the_same(checker: Checker, name: str) -> None:
    verdict = await run(checker, make_check(*HOSTILE[name]))
    assert isinstance(verdict, InvalidBody)
    assert 1 <= len(verdict.errors) <= MAX_FAULTS
    assert await run(checker, FINE) is None
    assert len(find_processes()) == 1  # it cost no process


async def test_processes_start_when_they_are_needed_and_are_used_again(checker: Checker) -> None:
    assert find_processes() == []
    verdicts = await asyncio.gather(*(run(checker, FINE) for _ in range(MAX_PROCESSES + MAX_WAITING // 2)))
    assert set(verdicts) == {None}
    before = find_processes()
    assert len(before) == MAX_PROCESSES
    await run(checker, FINE)
    assert find_processes() == before


async def test_a_process_inherits_nothing_but_its_end_of_a_socket(checker: Checker) -> None:
    await run(checker, FINE)
    (pid,) = find_processes()
    files = {path.name: str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    assert set(files) == {"0", "1", "2"}
    assert files["0"] == files["1"]
    assert files["2"] == "/dev/null"


async def test_more_than_may_wait_are_refused_at_once(checker: Checker) -> None:
    processes = await freeze(checker)
    deadline = time.monotonic() + PATIENCE
    running = [checker.submit(FINE, deadline) for _ in range(MAX_PROCESSES)]
    await asyncio.sleep(0)
    waiting = [checker.submit(FINE, deadline) for _ in range(MAX_WAITING)]
    assert isinstance(await run(checker, FINE), Overloaded)
    waiting.pop().cancel()
    await asyncio.sleep(0)
    waiting.append(checker.submit(FINE, deadline))
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    assert set(await asyncio.gather(*running, *waiting)) == {None}


async def test_a_check_ends_by_its_deadline_whether_it_runs_or_waits(checker: Checker) -> None:
    processes = await freeze(checker)
    checks = [run(checker, FINE, timeout=0.2) for _ in range(MAX_PROCESSES + 3)]
    for verdict in await asyncio.gather(*checks):
        assert isinstance(verdict, Timeout)
        assert verdict.delivered == "no"
    await eventually(lambda: not any(map(is_alive, processes)))
    assert await run(checker, FINE) is None


async def test_a_check_that_comes_as_the_last_ones_end_is_not_forgotten(checker: Checker) -> None:
    """All processes answer in one turn of the loop, and the caller who hears first has a check more at once."""
    await asyncio.gather(*(run(checker, FINE) for _ in range(MAX_PROCESSES)))
    heard: list[Verdict] = []

    async def check() -> None:
        heard.append(await run(checker, FINE))
        if len(heard) == 1:
            heard.append(await run(checker, FINE))

    callers = [asyncio.create_task(check()) for _ in range(MAX_PROCESSES)]
    for _ in range(5):
        await asyncio.sleep(0)
    time.sleep(0.5)  # this loop stands still, so that it finds all answers in one turn
    await asyncio.gather(*callers)
    assert heard == [None] * (MAX_PROCESSES + 1)


async def test_a_process_that_ends_by_itself_is_replaced(checker: Checker) -> None:
    for pid in await freeze(checker):
        os.kill(pid, signal.SIGKILL)
    verdicts = await asyncio.gather(*(run(checker, FINE) for _ in range(MAX_PROCESSES)))
    assert all(isinstance(verdict, Overloaded) for verdict in verdicts)
    assert await run(checker, FINE) is None


async def test_a_check_that_is_cancelled_costs_no_process(checker: Checker) -> None:
    processes = await freeze(checker)
    checks = [checker.submit(FINE, time.monotonic() + PATIENCE) for _ in range(MAX_PROCESSES + 3)]
    await asyncio.sleep(0)
    for check in checks:
        check.cancel()
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    assert await run(checker, FINE) is None
    assert find_processes() == processes


async def test_a_bug_is_told_with_its_traceback(checker: Checker) -> None:
    check = Check(Schema(True), b"[]")
    check.schema.__dict__["text"] = "no JSON"
    with pytest.raises(CheckFailed, match=r"(?s)Traceback.*JSONDecodeError"):
        await run(checker, check)
    assert await run(checker, FINE) is None


async def test_leaving_ends_all_checks_and_processes() -> None:
    async with Checker() as checker:
        processes = await freeze(checker)
        checks = [checker.submit(FINE, time.monotonic() + PATIENCE) for _ in range(MAX_PROCESSES + 3)]
        await asyncio.sleep(0)
    assert all(isinstance(check.result(), Draining) for check in checks)
    assert not any(map(is_alive, processes))


async def test_leaving_waits_for_a_process_that_is_being_ended() -> None:
    """Its end waits for a thread, and those there are have work."""
    loop = asyncio.get_running_loop()
    rest = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        loop.set_default_executor(threads)
        async with Checker() as checker:
            processes = await freeze(checker)
            busy = loop.run_in_executor(None, rest.wait)
            checks = [run(checker, FINE, timeout=0.1) for _ in range(MAX_PROCESSES)]
            assert all(isinstance(verdict, Timeout) for verdict in await asyncio.gather(*checks))
            await eventually(lambda: not any(map(may_run, processes)))
            loop.call_later(0.2, rest.set)
        assert not any(map(is_alive, processes))
        await busy


async def test_a_check_that_comes_after_leaving_starts_nothing() -> None:
    async with Checker() as checker:
        pass
    assert isinstance(await run(checker, FINE), Draining)
    assert find_processes() == []


PARENT = """
import asyncio, time
from app.routing.bodies import Check
from app.checks.checker import Checker
from app.formats.schemas import Schema

async def main():
    async with Checker() as checker:
        await checker.submit(Check(Schema(True), b"[]"), time.monotonic() + 20)
        print("checked", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_process_outlives_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        (pid,) = find_children(parent.pid, "app.checks.process")
        os.kill(pid, signal.SIGINT)  # as a Ctrl-C would, and a stop of the group
        os.kill(pid, signal.SIGTERM)
        assert is_alive(pid)
        parent.kill()
    await eventually(lambda: not is_alive(pid))
