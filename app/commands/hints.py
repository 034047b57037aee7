"""What a request would have needed, for whoever runs `nats-http dev`.

Law: each hint is printed once, and at most MAX_HINTS of a kind: callers can't fill the log with hints.
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
MAX_COMPARED = 200  # routes
MAX_SEGMENT = 32  # characters of one that are compared
MAX_NEAREST = 3  # routes that a hint names
MIN_LIKENESS = 0.6  # of two paths, from 0 to 1
WITHOUT_PREFIX = 0.9  # what counts of the likeness of their ends
TOO_FEW, TOO_MANY = 0.5, 0.3  # what a missing value, and a segment more, count in that
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
    """An observer. `find_table` and `find_server` return the current routes and NATS server."""

    def __init__(self, find_table: Callable[[], RouteTable], find_server: Callable[[], str]) -> None:
        self._find_table = find_table
        self._find_server = find_server
        self._told: dict[str | None, set[str]] = {NoResponders.slug: set(), NotFound.slug: set()}

    def __call__(self, record: Record) -> None:
        if record.slug == NoResponders.slug and record.route and self._is_new(NoResponders.slug, record.route):
            self._tell_of_service(record.route)
        elif (
            record.slug in (NotFound.slug, MethodNotAllowed.slug)
            and record.route is None
            and record.path
            and self._is_new(NotFound.slug, f"{record.method} {show_path(record)}")
        ):
            self._tell_of_routes(record.path)

    def _is_new(self, kind: str, name: str) -> bool:
        told = self._told[kind]
        if name in told or len(told) >= MAX_HINTS:
            return False
        told.add(name)
        return True

    def _tell_of_service(self, name: str) -> None:
        route = next((route for route in self._find_table().routes if route.name == name), None)
        if route is not None:
            command = write_service(write_pattern(route), choose_reply(route), self._find_server())
            _log.info("nobody-answers", subject=write_pattern(route), hint="an answer, to paste into another terminal")
            print(f"\n{command}\n", file=sys.stderr)

    def _tell_of_routes(self, path: bytes) -> None:
        if nearest := find_nearest(path, self._find_table().routes):
            _log.info("nearest-routes", routes=[f"{','.join(route.methods)} {route.path}" for route in nearest])


def write_service(pattern: str, reply: str, server: str) -> str:
    """A command that answers requests on these subjects: of the `nats` tool where it is there, else of this Python."""
    if shutil.which("nats"):
        return shlex.join(["nats", "reply", "--server", f"nats://{server}", pattern, reply])
    text = json.dumps(reply, ensure_ascii=False)  # as Python writes it too, in quotes that a shell leaves alone
    program = PROGRAM.format(reply=text, server=server, pattern=pattern)
    return f"{shlex.quote(_find_python())} -c {shlex.quote(program.strip())}"


def choose_reply(route: Route) -> str:
    """What the route's documentation gives for an example, if it is short; else something that is right."""
    example = route.reply.example
    is_json = "json" in (route.reply.content_type or "")
    text = example if isinstance(example, str) and not is_json else json.dumps(example)
    if example is not None and len(text) <= MAX_REPLY:
        return text
    return '{"hello": "world"}' if is_json else "hello"


def find_nearest(path: bytes, routes: Iterable[Route]) -> list[Route]:
    """The routes whose paths are most like this one, the best first, if any are like it at all."""
    segments = unquote(path[:MAX_REPLY].decode("latin-1")).rstrip("/").split("/")[1:]
    found = [(_compare(segments, route), route) for route in islice(routes, MAX_COMPARED)]
    found.sort(key=lambda pair: -pair[0])
    return [route for likeness, route in found[:MAX_NEAREST] if likeness >= MIN_LIKENESS]


def _compare(segments: list[str], route: Route) -> float:
    """How alike they are, from 0 to 1; a beginning that is forgotten, such as a prefix, counts for little."""
    mine = route.segments
    whole = _compare_segments(mine, segments[: len(mine)] if route.tail else segments)
    end = _compare_segments(mine[-len(segments) :], segments) if len(segments) < len(mine) else 0.0
    return max(whole, end * WITHOUT_PREFIX)


def _compare_segments(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """The mean of their literal segments, where one too few or too many counts too."""
    pairs = zip_longest(mine, theirs)
    scores = [score for one, other in pairs if (score := _compare_segment(one, other)) is not None]
    return sum(scores) / len(scores) if scores else 0.0


def _compare_segment(mine: str | None, theirs: str | None) -> float | None:
    """None for a parameter that has a value."""
    if mine is None:
        return TOO_MANY
    if find_parameter(mine):
        return None if theirs else TOO_FEW
    matcher = difflib.SequenceMatcher(None, mine[:MAX_SEGMENT], (theirs or "")[:MAX_SEGMENT])
    most = matcher.quick_ratio()  # at a fraction of the cost
    return most if most < MIN_LIKENESS else matcher.ratio()


def _find_python() -> str:
    """This Python, by its shorter name where it is below the current folder."""
    python = Path(sys.executable)
    return os.path.relpath(python) if python.is_relative_to(Path.cwd()) else str(python)
