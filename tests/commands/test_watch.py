"""A saved route file is noticed, however it is saved, and nothing else is."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.commands.hangups import Hangups
from app.commands.looks import Looks
from app.commands.reload import FileSource
from app.commands.watch import find_folders, watch_files
from app.exchange.plans import Limits
from app.routefile.load import RouteFileError
from app.settings import Settings
from tests.harness import eventually

TEXT = "version: 1\nroutes:\n  - {name: a, method: POST, path: /a, subject: a, body_schema: schemas/a.json}\n"


class Source(FileSource):
    """Counts how often it is asked."""

    asked = 0

    def ask(self) -> None:
        super().ask()
        self.asked += 1


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    before = signal.getsignal(signal.SIGHUP)
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "a.json").write_text("{}")
    (tmp_path / "routes.yaml").write_text(TEXT)
    source = Source(tmp_path / "routes.yaml", Limits.of(Settings()), hangups=Hangups())
    source.load()
    yield source
    source.close()
    signal.signal(signal.SIGHUP, before)


def write_in_place(path: Path) -> None:
    path.write_text(f"{path.read_text()} ")


def rename_over(path: Path) -> None:
    """As most editors save."""
    fresh = path.with_name("new~")
    fresh.write_text(path.read_text())
    fresh.replace(path)


def delete(path: Path) -> None:
    path.unlink()


def touch_with_the_same_size(path: Path) -> None:
    path.write_text(path.read_text())


WAYS = [write_in_place, rename_over, delete, touch_with_the_same_size]


@pytest.mark.parametrize("name", ["routes.yaml", "schemas/a.json"])
@pytest.mark.parametrize("change", WAYS)
def test_a_change_of_any_of_its_files_is_seen_once(source: Source, name: str, change: Any) -> None:
    looks = Looks(source)
    looks.look()
    assert source.asked == 0
    change(source.path.parent / name)
    looks.look()
    looks.look()
    assert source.asked == 1


def test_a_file_that_comes_where_others_are_sought_is_seen(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "a.yaml").write_text("version: 1\nroutes: [{name: b, method: GET, path: /b, subject: b}]\n")
    (tmp_path / "routes.yaml").write_text(f"{TEXT}include: [more/*.yaml]\n")
    source.load()
    looks = Looks(source)
    for change, is_seen in (
        ((folder / ".a.yaml.swp").touch, False),
        ((folder / "b.yaml").touch, True),
        ((folder / "b.yaml").unlink, True),
        (lambda: folder.rename(tmp_path / "less"), True),
        (lambda: (tmp_path / "less").rename(folder), True),
    ):
        before = source.asked
        change()
        looks.look()
        assert source.asked - before == is_seen


def test_a_file_that_comes_back_is_seen(source: Source) -> None:
    source.path.unlink()
    looks = Looks(source)
    source.path.write_text(TEXT)
    looks.look()
    assert source.asked == 1


def test_a_file_that_it_is_now_read_from_is_only_new_if_it_changed_since(source: Source) -> None:
    old, fresh = source.path.with_name("old.json"), source.path.with_name("fresh.json")
    old.write_text("{}")
    os.utime(old, (1, 1))
    looks = Looks(source)
    source.files = (*source.files, old)
    looks.look()
    assert source.asked == 0
    fresh.write_text("{}")
    source.files = (*source.files, fresh)
    looks.look()
    assert source.asked == 1


def test_the_folders_are_those_of_the_files_or_of_what_is_there_of_them(source: Source) -> None:
    folder = source.path.parent
    assert find_folders(source.files) == {folder, folder / "schemas"}
    assert find_folders([folder / "no" / "where" / "a.json"]) == {folder}


def test_a_file_that_is_wrong_is_still_one_of_those_to_look_at(source: Source) -> None:
    (source.path.parent / "schemas" / "a.json").unlink()
    with pytest.raises(RouteFileError) as caught:
        source.load()
    assert list(caught.value.files) == [source.path, source.path.parent / "schemas" / "a.json"]


@asynccontextmanager
async def watching(source: FileSource) -> Any:
    task = asyncio.create_task(watch_files(source))
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


async def test_it_asks_once_for_a_burst(source: Source) -> None:
    async with watching(source):
        for _ in range(20):
            rename_over(source.path)
            write_in_place(source.path.parent / "schemas" / "a.json")
        await eventually(lambda: source.asked)
        await asyncio.sleep(0.5)
        assert source.asked == 1


async def test_it_follows_the_files_to_other_folders(source: Source, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.json").write_text("{}")
    os.utime(other / "b.json", (1, 1))
    async with watching(source):
        source.files = (source.path, other / "b.json")
        write_in_place(source.path)
        await eventually(lambda: source.asked == 1)
        write_in_place(other / "b.json")
        await eventually(lambda: source.asked == 2)


async def test_what_a_link_leads_to_counts(source: Source, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    source.path.rename(elsewhere / "routes.yaml")
    source.path.symlink_to(elsewhere / "routes.yaml")
    async with watching(source):
        write_in_place(elsewhere / "routes.yaml")
        await eventually(lambda: source.asked == 1)


async def test_a_folder_that_goes_and_comes_is_no_end(source: Source) -> None:
    schemas = source.path.parent / "schemas"
    async with watching(source):
        (schemas / "a.json").unlink()
        schemas.rmdir()
        await eventually(lambda: source.asked == 1)
        schemas.mkdir()
        (schemas / "a.json").write_text("{}")
        await eventually(lambda: source.asked == 2)
