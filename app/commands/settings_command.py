"""`nats-http settings`: all settings with their values, and where each comes from."""

import json
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

MAX_WIDTH = 110  # columns

Row = tuple[str, str, str]

_HEAD: Row = ("SETTING", "SOURCE", "VALUE")
_UNSET = "unset"
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of this process. `value` is its text in the environment, with `***` for a password or a token. None
    if the setting is not set."""

    name: str
    value: str | None
    source: Literal["default", "environment"]


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List all settings, their values, and where each comes from. Passwords and tokens are not shown.

    If any setting is wrong, the exit code is 1, with a line for each fault. The list marks these settings as wrong.
    """
    from ..settings import SettingsError, load_settings

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
        sys.stdout.flush()  # before the faults, in case both go to one file
        raise fault


def _write_json(found: Sequence[Setting], wrong: Container[str]) -> str:
    rows = [asdict(setting) | {"is_wrong": setting.name in wrong} for setting in found]
    return json.dumps(rows, indent=2)


def _make_rows(found: Sequence[Setting], wrong: Container[str]) -> list[Row]:
    marks = {True: ", wrong", False: ""}
    return [
        (setting.name, f"{setting.source}{marks[setting.name in wrong]}", _to_one_line(setting.value or _UNSET))
        for setting in found
    ]


def _print_lines(rows: Sequence[Row]) -> None:
    """One line for each setting. The end of a long value is cut off."""
    rows = [_HEAD, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, source, value in rows:
        line = f"{name:{widths[0]}}  {source:{widths[1]}}  {value}"
        typer.echo(line if len(line) <= MAX_WIDTH else f"{line[: MAX_WIDTH - 1]}…")


def _print_table(rows: Sequence[Row]) -> None:
    """A table. A long value continues on the next line."""
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


def list_settings() -> list[Setting]:
    """All settings in the order of the reference, including wrong ones, then those of the clusters of GATEWAY_NATS that
    are set."""
    from ..nats.masks import mask_variable
    from ..settings import VARIABLES, Settings, read_variables

    found = read_variables()
    own = [
        Setting(name, mask_variable(name, found[name]), "environment")
        if name in found
        else Setting(name, _write_default(field.default), "default")
        for name, field in zip(VARIABLES, Settings.model_fields.values(), strict=True)
    ]
    return [*own, *_list_of_clusters()]


def _list_of_clusters() -> Iterator[Setting]:
    from ..formats.clusters import name_variables
    from ..nats.masks import mask_variable
    from ..settings import list_cluster_names, read_cluster

    for cluster in list_cluster_names():
        for variable, value in read_cluster(cluster).items():
            yield Setting(name_variables(variable, cluster), mask_variable(variable, value), "environment")


def _write_default(value: object) -> str | None:
    from ..formats.units import format_duration, format_size

    match value:
        case None:
            return None
        case bool():
            return "on" if value else "off"
        case tuple():
            return ",".join(value)
        case float():
            return format_duration(value)
        case int() if value >= _MIB:
            return format_size(value)
    return str(value)
