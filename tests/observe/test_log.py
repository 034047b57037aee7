"""What a process writes to stderr once logging is set up: each test runs a Python of its own."""

import json
import re
import sys
from typing import Any

import pytest

from tests.process.programs import finish

SPEAK = """
import asyncio, logging, sys, threading, warnings
import structlog
from pathlib import Path
from app.observe.log import configure_logging
configure_logging(color=False, form=sys.argv[1] or None, level=sys.argv[2])
ours = structlog.get_logger()
for level in ("debug", "info", "warning", "error"):
    getattr(ours, level)(f"ours-{level}", reason="plain")
    for name in ("library", "uvicorn.error", "nats.aio.client", "httpx"):
        getattr(logging.getLogger(name), level)("%s says %s", name, level, extra={"color_message": "x", "more": 1})
"""
FAIL = """
def fail():
    raise RuntimeError("a bug")
class Broken:
    def __del__(self):
        fail()
async def forget():
    task = asyncio.create_task(asyncio.sleep(0, fail))
    async def crash():
        fail()
    task = asyncio.create_task(crash())
    await asyncio.sleep(0)
    del task
thread = threading.Thread(target=fail, name="aside")
thread.start()
thread.join()
del_me = Broken()
del del_me
warnings.warn("old", RuntimeWarning)
asyncio.run(forget())
fail()
"""
ODD = """
items = ("a", {1: None})
ours.info("odd", text="\\ud800 \\x9b2J \\u2028 \\x1b[2J é", raw=b"\\xff", path=Path("/x"), items=items, that=object)
"""


def run(program: str, form: str = "json", level: str = "info") -> list[str]:
    """The lines on stderr; all of them are there."""
    command = [sys.executable, "-c", SPEAK + program, form, level]
    done = finish(command)
    assert done.stdout == ""
    return done.stderr.splitlines()


def read(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


WORSE = ["ours-error", "library says error", "uvicorn.error says error", "httpx says error"]
WARNING = ["ours-warning", "library says warning", "httpx says warning"]
ALL = ["ours-{0}", "library says {0}", "uvicorn.error says {0}", "nats.aio.client says {0}"]
OPEN = "httpx says {0}"
"""It has queries in it at the other levels."""


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("error", WORSE),
        ("warning", [*WARNING, *WORSE]),
        ("info", ["ours-info", "library says info", *WARNING, *WORSE]),
        (
            "debug",
            [event.format(level) for level in ("debug", "info") for event in ALL]
            + [event.format(level) for level in ("warning", "error") for event in (*ALL, OPEN)],
        ),
    ],
)
def test_a_level_counts_for_libraries_too_and_debug_has_what_the_gateway_says_itself(
    level: str, events: list[str]
) -> None:
    lines = read(run("", level=level))
    assert [line["event"] for line in lines if line.get("logger") != "asyncio"] == events


def test_messages_of_libraries_have_the_same_keys_and_the_name_of_their_logger() -> None:
    ours, of_library, *_ = read(run("", level="warning"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ours.pop("timestamp"))
    assert ours == {"event": "ours-warning", "level": "warning", "reason": "plain"}
    assert of_library.pop("timestamp").endswith("Z")
    assert of_library == {"event": "library says warning", "level": "warning", "logger": "library", "more": 1}


def test_each_exception_that_nobody_catches_and_each_warning_is_one_line() -> None:
    lines = read(run(FAIL, level="warning"))[len(WARNING) + len(WORSE) :]
    assert [(line["event"].partition("\n")[0], line["level"]) for line in lines] == [
        ("uncaught-exception", "error"),
        ("unraisable-exception", "error"),
        ("python-warning", "warning"),
        ("Task exception was never retrieved", "error"),
        ("uncaught-exception", "critical"),
    ]
    of_thread, unraisable, warning, of_task, of_main = lines
    assert (of_thread["thread"], unraisable["place"], of_task["logger"]) == ("aside", "Broken.__del__", "asyncio")
    assert (warning["category"], warning["reason"]) == ("RuntimeWarning", "old")
    for line in (of_thread, unraisable, of_task, of_main):
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("\nRuntimeError: a bug")


def test_a_line_is_ascii_whatever_stands_in_it() -> None:
    line = run(ODD)[-1]
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert (found["text"], found["raw"], found["items"]) == (
        "\ud800 \x9b2J \u2028 \x1b[2J é",
        repr(b"\xff"),
        ["a", {"1": None}],
    )
    assert "object" in found["that"]


def test_text_is_for_people_and_unset_it_is_for_terminals_only() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d gateway  warning ours-warning reason=plain", run("", "text", "warning")[0])
    assert read(run("", "", "warning"))[0]["event"] == "ours-warning"


def test_text_of_a_library_can_t_begin_a_line_of_its_own() -> None:
    program = 'logging.getLogger("library").error("one\\n12:00:00 gateway  two")'
    assert run(program, "text")[-1].endswith("gateway  error one\\n12:00:00 gateway  two logger=library")
