from pathlib import Path

import pytest

from app.commands.extension import load_extension
from app.errors import CannotStart

CODE = """
async def asynchronous(app): ...
number = 7
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_gateway.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("their_gateway", "write MODULE:FUNCTION, such as my_gateway:extend"),
        (":extend", "write MODULE:FUNCTION, such as my_gateway:extend"),
        ("their_gateway:", "write MODULE:FUNCTION, such as my_gateway:extend"),
        ("nowhere:extend", "there is no module 'nowhere'"),
        ("nowhere.inner:extend", "there is no module 'nowhere'"),
        ("their_gateway.inner:extend", "there is no module 'their_gateway.inner'"),
        ("their_gateway:other", "the module has no 'other'"),
        ("their_gateway:number", "'number' is not a function that takes the application, such as `def number(app):`"),
        (
            "their_gateway:asynchronous",
            "'asynchronous' is not a function that takes the application, such as `def asynchronous(app):`",
        ),
    ],
)
def test_what_can_t_be_called_is_told_in_one_line(name: str, complaint: str) -> None:
    with pytest.raises(CannotStart) as caught:
        load_extension(name)
    assert str(caught.value) == f"--extend '{name}': {complaint}"
