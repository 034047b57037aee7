"""The process that reads a route file at a reload says of it what a start would say."""

import os
from pathlib import Path

import pytest

from app.commands.loader import load
from app.prepared import MAX_LOWERED, read_head
from app.routefile.load import EXAMPLES, RouteFileError, load_route_file


def read_faults(package: bytes) -> tuple[str, ...]:
    with pytest.raises(RouteFileError) as caught:
        read_head(package)
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
    assert read_head(load(EXAMPLES)).routes == len(load_route_file(EXAMPLES).table.routes)


def test_a_file_without_the_schemes_that_pages_ask_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PAGES_AUTH", "users")
    (fault,) = read_faults(load(EXAMPLES))
    assert fault.startswith("GATEWAY_PAGES_AUTH 'users': no scheme of this name")


def test_a_package_tells_which_limits_are_lowered(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    line = "  - {{name: r{0}, method: PUT, path: '/r{0}', subject: 'r{0}', max_body: 2MiB}}\n"
    path.write_text("version: 1\nroutes:\n" + "".join(line.format(number) for number in range(MAX_LOWERED + 1)))
    lowered = read_head(load(path)).lowered
    assert lowered[0] == "route 'r0': max_body 2MiB is over GATEWAY_MAX_BODY, so 1MiB applies"
    assert len(lowered) == MAX_LOWERED
    assert read_head(load(EXAMPLES)).lowered == []
