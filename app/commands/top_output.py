"""What `nats-http top` writes: lines for people, or JSON for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

from .top_view import RouteRow, View

TROUBLE = 0.05  # a larger share of failures is red

_UP = {True: "up", False: "away", None: "?"}
_NO_ROUTE = "(no route)"
_NUMBERS = 42  # columns of all numbers of a row
_LEAST_NAME, _MOST_NAME = 12, 64  # columns
_PROBLEM = 16  # columns
_MIB = 1024 * 1024


class Line(NamedTuple):
    """One line, and its style on a terminal: a style of rich, or empty."""

    text: str
    style: str = ""


def write_json(view: View, *, indent: int | None) -> str:
    """One object. The name of a route is empty for pages and for paths without a route."""
    return json.dumps(asdict(view), indent=indent)


def write_lines(view: View, *, width: int, height: int | None = None) -> list[Line]:
    """The head and the table. No line is longer than `width`. With a `height` there are at most as many lines."""
    head = [Line(line) for line in _pack(list(_list_facts(view)), width)]
    troubles = [Line(text[:width], "bold red") for text in _list_troubles(view)]
    lines = [*troubles, *head, Line("")]
    room = None if height is None else max(height - len(lines) - 2, 0)
    shown, hidden = view.routes[:room], len(view.routes[room:]) if room is not None else 0
    name = max(_LEAST_NAME, min(_MOST_NAME, width - _NUMBERS - 2 - _PROBLEM))
    if shown:
        lines.append(Line(_write_row(("ROUTE", "REQ/S", "5XX", "4XX", "P50", "P99", "PROBLEM"), name, width), "bold"))
    for row in shown:
        style = "red" if row.failing > TROUBLE else "yellow" if row.failing else ""
        lines.append(Line(_write_row(_list_cells(row), name, width), style))
    if rest := ", ".join(_list_rest(view, hidden)):
        lines.append(Line(rest[:width], "dim"))
    return lines


def _list_rest(view: View, hidden: int) -> Iterator[str]:
    if hidden:
        yield f"{hidden} more routes"
    if not view.routes:
        yield f"no requests in the last {view.seconds:.1f} s"
    if view.idle_routes:
        yield f"{view.idle_routes} {'route' if view.idle_routes == 1 else 'routes'} without requests now"


def _list_troubles(view: View) -> Iterator[str]:
    if view.nats_connected is False:
        away = ", ".join(_clean(name) for name, is_up in view.clusters.items() if not is_up)
        where, what = (f" ({away})", "requests to it") if away else ("", "requests")
        yield f"NOT CONNECTED TO NATS{where}: {what} get 503. Look for `connect-failed` in the log."
    if view.reload_successful is False:
        yield "THE LAST RELOAD WAS REFUSED: the old routes still apply. Look for `routes-refused` in the log."


def _list_facts(view: View) -> Iterator[str]:
    if view.clusters:
        yield "NATS " + ", ".join(f"{_clean(name)} {_UP[is_up]}" for name, is_up in view.clusters.items())
    else:
        yield f"NATS {_UP[view.nats_connected]}"
    yield f"round trip {_write_time(view.round_trip)}"
    if view.backlog:
        yield f"backlog {view.backlog / _MIB:.1f} MiB"
    yield f"in flight {_write_count(view.in_flight)}/{_write_count(view.in_flight_limit)}"
    yield f"connections {_write_count(view.connections)}"
    yield f"streams {_write_count(view.streams)}"
    yield f"{view.rate:.1f} requests/s"
    yield f"CPU {'-' if view.cpu is None else f'{view.cpu:.0%}'}"
    yield f"memory {'-' if view.memory is None else f'{view.memory / _MIB:.0f} MiB'}"
    yield f"workers {_write_count(view.workers)}"


def _pack(facts: Sequence[str], width: int) -> Iterator[str]:
    """Lines with as many facts as fit."""
    line = ""
    for fact in facts:
        joined = f"{line}   {fact}" if line else fact
        if len(joined) > width and line:
            yield line[:width]
            joined = fact
        line = joined
    yield line[:width]


def _list_cells(row: RouteRow) -> tuple[str, ...]:
    times = _write_time(row.p50), _write_time(row.p99)
    shares = f"{row.failing:.1%}", f"{row.refused:.1%}"
    return row.route or _NO_ROUTE, f"{row.rate:.1f}", *shares, *times, row.problem or ""


def _write_row(cells: tuple[str, ...], name: int, width: int) -> str:
    route, rate, failing, refused, p50, p99, problem = map(_clean, cells)
    if len(route) > name:
        route = f"{route[: name - 1]}…"
    line = f"{route:{name}}{rate:>10}{failing:>7}{refused:>7}{p50:>9}{p99:>9}  {problem}"
    return line[:width].rstrip()


def _clean(text: str) -> str:
    """The text without characters that would control a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _write_count(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _write_time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
