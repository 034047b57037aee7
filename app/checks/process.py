"""Checks bodies against JSON schemas in a separate process: `python -m app.checks.process`.

Laws:
1. Whatever the body and the schema are, faults are searched in a child process that the kernel ends after BUDGET
   seconds of computing. So no body can use up time or memory, and no body makes the next one slower.
2. The process takes at most MEMORY, and its child as much again.
3. The process ends when its parent ends: at the end of standard input, or when the time for a body is over.

It reads jobs, one after the other, and answers each. A job is a line of JSON, `{"schema": …, "taken": …, "size": …,
"seconds": …}`, followed by a body of `size` bytes. `schema` is the text of a JSON Schema. `taken` has the keys that the
body may not have, or is null. `seconds` is the time limit. An answer is a line of JSON: null for a valid body,
[detail, errors] for an invalid one, and {"bug": traceback} for a bug.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..errors import InvalidBody
from ..formats.schemas import Json, Schema
from ..routing.bodies import MAX_FAULTS, Check, check_keys, read_body

MEMORY = 160 * 1024 * 1024  # bytes that the process may take; a value takes up to 100 times as many as its text
BUDGET = 0.1  # seconds of computing to find all faults of a body, and again to find only the first one
MAX_SCHEMAS = 64  # compiled schemas that are kept

_NICENESS = 10  # processes that serve requests go first
_TOO_LARGE = ("", "its values take too much memory to be checked")
_NOT_FOUND = ("", "it breaks the schema, but the place would take too long to find")

_Faults = list[tuple[str, str]]


def find_fault(check: Check) -> InvalidBody | None:
    """The error of a body, or None if it is valid. It forks and blocks: call it in a process with one thread that
    serves nobody else."""
    try:
        value = read_body(check.body)
        check_keys(value, check.taken)
    except InvalidBody as error:
        return error
    if check.schema.is_valid(value):
        return None
    return InvalidBody(errors=tuple(_find_faults(check, value)))


def _find_faults(check: Check, value: Json) -> _Faults:
    """All faults, or only the first one, or _NOT_FOUND: as much as BUDGET allows."""
    schema = check.schema
    for find in (partial(schema.find_faults, value, limit=MAX_FAULTS), partial(schema.find_first, value)):
        if found := _run_apart(find):
            return found
    return [_NOT_FOUND]


def _run_apart(find: Callable[[], _Faults]) -> _Faults:
    """The faults that `find` returns in a child process that ends after BUDGET. Empty if that was not enough."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.setitimer(signal.ITIMER_PROF, BUDGET)  # SIGPROF ends a process even within native code
            with open(writing, "w") as answer:  # noqa: PTH123 - a descriptor
                json.dump(find(), answer)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answer:  # noqa: PTH123 - a descriptor
        text = answer.read()
    os.waitpid(child, 0)
    with contextlib.suppress(ValueError):  # the child has ended before its answer was complete
        return [(pointer, fault) for pointer, fault in json.loads(text)]
    return []


@lru_cache(MAX_SCHEMAS)
def _compile(text: str) -> Schema:
    return Schema(json.loads(text))


def _answer(job: dict[str, Any], body: bytes) -> object:
    taken = None if job["taken"] is None else frozenset(job["taken"])
    try:
        error = find_fault(Check(_compile(job["schema"]), body, taken))
    except MemoryError:
        error = InvalidBody(errors=(_TOO_LARGE,))
    except Exception:
        return {"bug": traceback.format_exc()}
    return error and [error.detail, [list(fault) for fault in error.errors]]


def main() -> None:
    """Do jobs until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    gc.freeze()
    gc.disable()  # a value has no cycles, and searching for them would take most of the time for a deep one
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := jobs.readline():
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, job["seconds"])  # SIGALRM ends the process: law 3
        answer = _answer(job, jobs.read(job["size"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()  # an exception and its traceback form a cycle, which keeps the body in memory
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
