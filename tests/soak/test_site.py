"""The parts of a soak do what its events ask of them."""

from pathlib import Path

import pytest

from app.routefile.load import RouteFileError, load_route_file
from tests.soak.callers import Address
from tests.soak.gauge import wait_until_none_left
from tests.soak.load import QUESTIONS
from tests.soak.service import LARGE, make_reply
from tests.soak.site import Gateway, RouteFile


@pytest.fixture
def routes(tmp_path: Path) -> RouteFile:
    routes = RouteFile(tmp_path / "routes.yaml")
    routes.write_keys()
    return routes


def test_routes_are_renewed_spoiled_and_restored(routes: RouteFile) -> None:
    first, second = routes.renew(), routes.renew()
    assert first != second
    assert second in routes.path.read_text()
    assert first not in routes.path.read_text()
    routes.spoil()
    with pytest.raises(RouteFileError):
        load_route_file(routes.path)
    routes.restore()
    assert load_route_file(routes.path).table.routes[-1].name == "last"
    assert second in routes.path.read_text()


def test_each_question_is_asked_of_a_route(routes: RouteFile) -> None:
    routes.renew()
    paths = {question.path.partition("{")[0] for question in QUESTIONS.values()}
    assert all(f'path: "{path}{{id}}"' in routes.path.read_text() for path in paths)


@pytest.mark.parametrize("nats", [[], ["nats://127.0.0.1:1"]])
def test_a_gateway_that_does_not_start_leaves_no_process(
    tmp_path: Path, port: int, nats: list[str], routes: RouteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.soak.site.PATIENCE", 1.0)
    if nats:
        routes.renew()
    else:
        routes.spoil()
    gateway = Gateway(Address("one", port), tmp_path, routes.path, nats)
    with pytest.raises(TimeoutError, match="no event connected"), gateway.running():
        pass
    assert not gateway.address.is_ready
    assert wait_until_none_left(tmp_path) == []


def test_a_large_reply_is_large_and_says_its_request() -> None:
    assert make_reply("work", "17") == b"17"
    reply = make_reply("large", "17")
    assert (len(reply), reply[:6]) == (LARGE, b"17 17 ")
