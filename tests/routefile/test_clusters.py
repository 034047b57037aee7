"""`nats` of a route: which NATS cluster or account has its subject, and each mistake with its place."""

from pathlib import Path

import pytest

from app.main import build_gateway
from app.pieces import run_at_once
from app.prepared import pack, unpack
from app.routefile.load import RouteFileError, load_route_file
from app.routing.routes import Route
from app.settings import Settings
from tests.routefile.files import LEAST, load, read_faults

MORE = "  - {name: b, method: GET, path: /b, publish: b"
OTHER = "  - {name: c, method: GET, path: /c, publish: c"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("GATEWAY_NATS", "factory,edge")
    return monkeypatch


def find_clusters(routes: tuple[Route, ...]) -> list[str]:
    return [route.nats for route in routes]


def test_a_route_goes_to_the_cluster_that_it_names_else_to_main(file: Path) -> None:
    text = LEAST + MORE + ", nats: factory}\n" + OTHER + ", nats: main}\n"
    read = load(file, text)
    assert find_clusters(read.table.routes) == ["main", "factory", "main"]
    assert find_clusters(run_at_once(unpack(pack(read))).table.routes) == ["main", "factory", "main"]


def test_defaults_are_for_routes_that_name_none(file: Path) -> None:
    file.with_name("more.yaml").write_text(f"version: 1\nroutes:\n{MORE}}}\n")
    text = LEAST + OTHER + ", nats: main}\ndefaults: {nats: edge}\ninclude: [more.yaml]\n"
    assert find_clusters(load(file, text).table.routes) == ["edge", "main", "edge"]


def test_an_unknown_name_is_told_with_its_place(file: Path, environment: pytest.MonkeyPatch) -> None:
    assert read_faults(file, LEAST + MORE + ", nats: factroy}\n") == [
        '4:56: routes[1].nats: "factroy": GATEWAY_NATS does not have this name, did you mean `factory`?'
    ]
    assert read_faults(file, LEAST + "defaults: {nats: x}\n") == [
        '4:18: routes[0].nats: "x": GATEWAY_NATS does not have this name; known are main, factory, edge'
    ]
    environment.delenv("GATEWAY_NATS")
    (fault,) = read_faults(file, LEAST + MORE + ", nats: factory}\n")
    assert fault.endswith('"factory": GATEWAY_NATS does not have this name; it is not set, so the only name is `main`')
    assert find_clusters(load_route_file(file, clusters=["factory"]).table.routes) == ["main", "factory"]


def test_a_gateway_has_the_clusters_of_its_routes(file: Path) -> None:
    routes = load(file, LEAST + MORE + ", nats: edge}\n")
    with pytest.raises(RouteFileError, match=r"^route .b.: nats: edge: GATEWAY_NATS does not have this name"):
        build_gateway(Settings.model_validate({"clusters": {"factory": {"nats_url": "nats://a"}}}), routes=routes)
