"""The process that reads a route file at a reload says of it what a start would say."""

import os
from pathlib import Path

import pytest

from app.commands.loader import load
from app.prepared import count_routes
from app.routefile.load import EXAMPLES, RouteFileError, load_route_file


def read_faults(package: bytes) -> tuple[str, ...]:
    with pytest.raises(RouteFileError) as caught:
        count_routes(package)
    return caught.value.faults


@pytest.mark.parametrize("name", ["missing.yaml", "directory", "wrong.yaml", "wrong.yaml/below", "nul\0"])
def test_what_is_wrong_is_told_in_the_words_of_a_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "wrong.yaml").write_text("version: 2\nrotues: []\n")
    path = tmp_path / name
    with pytest.raises(RouteFileError) as caught:
        load_route_file(path)
    assert read_faults(load(path)) == caught.value.faults


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_faults(load(path)) == (f"{path}: not a regular file",)


def test_a_valid_file_becomes_a_package_of_its_routes() -> None:
    assert count_routes(load(EXAMPLES)) == len(load_route_file(EXAMPLES).table.routes)
