"""Hints for the user of `nats-http dev` about failed requests: a service that would answer, or routes with similar
paths.

Law: each hint is printed once, and at most MAX_HINTS of each kind. So callers can't fill the log with hints.
"""

import difflib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from urllib.parse import unquote

import structlog

from ..errors import MethodNotAllowed, NoResponders, NotFound
from ..observe.console import show_path
from ..observe.record import Record
from ..routing.paths import find_parameter
from ..routing.routes import Route
from ..routing.table import RouteTable
from .trial import write_pattern

MAX_HINTS = 20
MAX_COMPARED = 200  # routes that are compared
MAX_SEGMENT = 32  # characters of a segment that are compared
MAX_NEAREST = 3  # routes that a hint names
MIN_LIKENESS = 0.6  # of two paths, from 0 to 1, for a hint
WITHOUT_PREFIX = 0.9  # weight of the likeness without a prefix
TOO_FEW, TOO_MANY = 0.5, 0.3  # the likeness of a missing value, and of a segment too many
MAX_REPLY = 200  # characters of an example

PROGRAM = """\
import asyncio, nats

async def answer(msg):
    await msg.respond({reply}.encode())

async def main():
    client = await nats.connect("nats://{server}")
    await client.subscribe("{pattern}", cb=answer)
    await asyncio.Event().wait()

asyncio.run(main())
"""

_log = structlog.get_logger("nats-http.dev")


class Hints:
    """An observer that prints hints. `find_table` and `find_server` return the current routes and NATS server."""

    def __init__(self, find_table: Callable[[], RouteTable], find_server: Callable[[], str]) -> None:
        self._find_table = find_table
        self._find_server = find_server
        self._printed: dict[str | None, set[str]] = {NoResponders.slug: set(), NotFound.slug: set()}

    def __call__(self, record: Record) -> None:
        if record.slug == NoResponders.slug and record.route and self._is_new(NoResponders.slug, record.route):
            self._suggest_service(record.route)
        elif (
            record.slug in (NotFound.slug, MethodNotAllowed.slug)
            and record.route is None
            and record.path
            and self._is_new(NotFound.slug, f"{record.method} {show_path(record)}")
        ):
            self._suggest_routes(record.path)

    def _is_new(self, kind: str, name: str) -> bool:
        printed = self._printed[kind]
        if name in printed or len(printed) >= MAX_HINTS:
            return False
        printed.add(name)
        return True

    def _suggest_service(self, name: str) -> None:
        route = next((route for route in self._find_table().routes if route.name == name), None)
        if route is not None:
            command = write_service(write_pattern(route), choose_reply(route), self._find_server())
            _log.info(
                "nobody-answers",
                subject=write_pattern(route),
                hint="to answer, paste this command into another terminal",
            )
            print(f"\n{command}\n", file=sys.stderr)

    def _suggest_routes(self, path: bytes) -> None:
        if nearest := find_nearest(path, self._find_table().routes):
            _log.info("nearest-routes", routes=[f"{','.join(route.methods)} {route.path}" for route in nearest])


def write_service(pattern: str, reply: str, server: str) -> str:
    """A command that answers requests on these subjects: with the `nats` tool if it is installed, else with this
    Python."""
    if shutil.which("nats"):
        return shlex.join(["nats", "reply", "--server", f"nats://{server}", pattern, reply])
    text = json.dumps(reply, ensure_ascii=False)  # also valid as Python, and its quotes need no escape in a shell
    program = PROGRAM.format(reply=text, server=server, pattern=pattern)
    return f"{shlex.quote(_find_python())} -c {shlex.quote(program.strip())}"


def choose_reply(route: Route) -> str:
    """The example reply of the route if it is short, else another valid reply."""
    example = route.reply.example
    is_json = "json" in (route.reply.content_type or "")
    text = example if isinstance(example, str) and not is_json else json.dumps(example)
    if example is not None and len(text) <= MAX_REPLY:
        return text
    return '{"hello": "world"}' if is_json else "hello"


def find_nearest(path: bytes, routes: Iterable[Route]) -> list[Route]:
    """The routes with the most similar paths, the best first. Empty if no path is similar enough."""
    segments = unquote(path[:MAX_REPLY].decode("latin-1")).rstrip("/").split("/")[1:]
    found = [(_compare(segments, route), route) for route in islice(routes, MAX_COMPARED)]
    found.sort(key=lambda pair: -pair[0])
    return [route for likeness, route in found[:MAX_NEAREST] if likeness >= MIN_LIKENESS]


def _compare(segments: list[str], route: Route) -> float:
    """The likeness of two paths, from 0 to 1. If the beginning is missing, such as a prefix, that costs little."""
    mine = route.segments
    whole = _compare_segments(mine, segments[: len(mine)] if route.tail else segments)
    end = _compare_segments(mine[-len(segments) :], segments) if len(segments) < len(mine) else 0.0
    return max(whole, end * WITHOUT_PREFIX)


def _compare_segments(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """The mean likeness of the segments. A segment too many or too few counts as well."""
    pairs = zip_longest(mine, theirs)
    scores = [score for one, other in pairs if (score := _compare_segment(one, other)) is not None]
    return sum(scores) / len(scores) if scores else 0.0


def _compare_segment(mine: str | None, theirs: str | None) -> float | None:
    """The likeness of two segments. None for a parameter that has a value, which does not count."""
    if mine is None:
        return TOO_MANY
    if find_parameter(mine):
        return None if theirs else TOO_FEW
    matcher = difflib.SequenceMatcher(None, mine[:MAX_SEGMENT], (theirs or "")[:MAX_SEGMENT])
    most = matcher.quick_ratio()  # takes a fraction of the time
    return most if most < MIN_LIKENESS else matcher.ratio()


def _find_python() -> str:
    """The path of this Python, relative to the current folder if it is below it."""
    python = Path(sys.executable)
    return os.path.relpath(python) if python.is_relative_to(Path.cwd()) else str(python)
