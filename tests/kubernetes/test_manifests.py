"""The plain manifests are what the chart renders, and are valid."""

import pytest
import yaml

from app.routefile.load import load_route_file
from tests.kubernetes.chart import choose
from tests.kubernetes.manifests import FILES, FOLDER, ROUTES, write_manifest
from tests.kubernetes.schemas import VERSIONS, find_faults


@pytest.mark.parametrize("file", FILES)
def test_a_plain_manifest_is_what_the_chart_renders(file: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == write_manifest(*FILES[file]), "`make manifests` writes it"


def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, ROUTES.name}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES)
def test_a_plain_manifest_is_valid_and_does_not_mention_helm(file: str, version: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    for manifest in yaml.safe_load_all(text):
        assert find_faults(manifest, version) == []
        assert "helm" not in str(manifest["metadata"]).lower()


def test_its_routes_are_those_of_a_file_that_the_gateway_takes() -> None:
    manifests = list(yaml.safe_load_all((FOLDER / "gateway.yaml").read_text(encoding="utf-8")))
    assert choose(manifests, "ConfigMap")["data"] == {"routes.yaml": ROUTES.read_text(encoding="utf-8")}
    assert [route.name for route in load_route_file(ROUTES).table.routes] == ["greet"]
