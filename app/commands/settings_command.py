"""`nats-http settings`: all settings with their values, and where each comes from."""

import json
import sys
from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..settings import Setting

MAX_WIDTH = 110  # columns

Row = tuple[str, str, str]

_HEAD: Row = ("SETTING", "SOURCE", "VALUE")
_UNSET = "unset"


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List all settings, their values, and where each comes from. Passwords and tokens are not shown.

    Exit code 1, with a line for each fault, if any setting is wrong. The list has those as well.
    """
    from ..settings import SettingsError, list_settings, load_settings

    found, fault = list_settings(), None
    try:
        load_settings(check_files=True)
    except SettingsError as error:
        fault = error
    wrong = fault.names if fault else frozenset()
    if as_json:
        typer.echo(_write_json(found, wrong))
    elif sys.stdout.isatty():
        _print_table(_make_rows(found, wrong))
    else:
        _print_lines(_make_rows(found, wrong))
    if fault:
        sys.stdout.flush()  # before the faults, where both go to one file
        raise fault


def _write_json(found: Sequence["Setting"], wrong: Container[str]) -> str:
    rows = [asdict(setting) | {"is_wrong": setting.name in wrong} for setting in found]
    return json.dumps(rows, indent=2)


def _make_rows(found: Sequence["Setting"], wrong: Container[str]) -> list[Row]:
    marks = {True: ", wrong", False: ""}
    return [
        (setting.name, f"{setting.source}{marks[setting.name in wrong]}", _to_one_line(setting.value or _UNSET))
        for setting in found
    ]


def _print_lines(rows: Sequence[Row]) -> None:
    """A line for each; the end of a long value is left out."""
    rows = [_HEAD, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, source, value in rows:
        line = f"{name:{widths[0]}}  {source:{widths[1]}}  {value}"
        typer.echo(line if len(line) <= MAX_WIDTH else f"{line[: MAX_WIDTH - 1]}…")


def _print_table(rows: Sequence[Row]) -> None:
    """A table; a long value goes on in the next line."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*_HEAD, box=SIMPLE_HEAD, header_style="bold")
    for row in rows:
        style = "red" if row[1].endswith("wrong") else "dim" if row[1] == "default" else ""
        table.add_row(*(Text(cell, style, overflow="fold") for cell in row))
    console = Console(highlight=False)
    console.print(table, width=min(console.width, MAX_WIDTH))


def _to_one_line(value: str) -> str:
    return value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
