"""A request costs no more instructions than is kept in the repository. They are the same on a busy machine. On a slow
one, where all cases would take half an hour, a few are counted."""

from pathlib import Path

import pytest

from benchmarks.instructions import count
from benchmarks.instructions.cases import CASES
from benchmarks.instructions.count import Figures, count_all, find_missing_tool, python_version
from tests.pace import find_slowness

OTHER_TOLERANCE = 0.2
FEW = ("bare", "browser", "POST 1 KiB", "bare, ASGI lane")
HINT = "`python -m benchmarks.instructions --keep REASON` keeps the new figures, if they are worth it"


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    assert find_missing_tool() is None
    return count_all(tmp_path_factory.mktemp("instructions"), () if find_slowness() < 2 else FEW)


@pytest.mark.timeout(1200)
def test_no_case_costs_more_than_its_figure(counted: dict[str, int]) -> None:
    assert set(FEW) <= set(counted) <= {case.name for case in CASES}
    figures = Figures.read()
    if figures.of(python_version()):
        assert figures.find_dearer(python_version(), counted) == [], HINT
        return
    kept = figures.of(next(iter(figures.by_version)))  # another build of Python: the ratios to a bare request are alike
    scale = counted["bare"] / kept["bare"]
    assert [name for name, count in counted.items() if count > kept[name] * scale * (1 + OTHER_TOLERANCE)] == [], HINT


def test_a_request_that_costs_more_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "KEPT", tmp_path / "figures.json")
    Figures.read().keep("3.11.2", {"bare": 100_000, "curl": 100_000}, "the first ones")
    kept = Figures.read()
    assert kept.find_dearer("3.11.2", {"bare": 103_000, "curl": 103_001, "new": 1}) == ["curl", "new"]
    assert kept.find_dearer("3.12.0", {"bare": 1}) == ["bare"]
    assert kept.by_version["3.11.2"]["reason"] == "the first ones"


def test_what_a_browser_sends_costs_little_more_than_a_bare_request(counted: dict[str, int]) -> None:
    assert counted["browser"] < 1.1 * counted["bare"]
