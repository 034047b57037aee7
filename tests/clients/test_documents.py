"""Linters find nothing to say of the OpenAPI documents."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.clients.conftest import FOLDER, MANY, NODE, call_tool

pytestmark = pytest.mark.timeout(300)  # Spectral takes a minute for many routes

NAMES = ("greet", "examples", "routes", "many")
REDOCLY: list[str | Path] = [NODE / "redocly", "lint", "--extends", "recommended"]
SPECTRAL: list[str | Path] = [NODE / "spectral", "lint", "--ruleset", FOLDER / "spectral.yaml"]
FILES = [f"{name}.json" for name in NAMES]


@pytest.mark.parametrize("file", FILES)
def test_a_document_is_valid_openapi_3_1(documents: Path, file: str) -> None:
    document = json.loads((documents / file).read_text())
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_redocly_finds_nothing_by_its_recommended_rules(documents: Path) -> None:
    told = call_tool(*REDOCLY, "--format", "json", *FILES, folder=documents)
    assert told.count('"problems": []') == len(FILES), told


def test_spectral_finds_nothing_by_its_rules_for_openapi(documents: Path) -> None:
    assert json.loads(call_tool(*SPECTRAL, "--format", "json", "--quiet", *FILES, folder=documents)) == []


@pytest.mark.parametrize(("tool", "rule"), [(REDOCLY, "security-defined"), (SPECTRAL, "oas3-schema")])
def test_a_linter_would_tell_a_mistake(documents: Path, tmp_path: Path, tool: list[str | Path], rule: str) -> None:
    document = json.loads((documents / "greet.json").read_text())
    del document["security"], document["info"]["title"]
    (tmp_path / "wrong.json").write_text(json.dumps(document))
    with pytest.raises(AssertionError, match=rule):
        call_tool(*tool, "wrong.json", folder=tmp_path)


def test_schemas_that_many_routes_share_are_there_once(documents: Path) -> None:
    document = json.loads((documents / "many.json").read_text())
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len(operations) == MANY
    schemas = document["components"]["schemas"]
    assert {"Order", "Line", "Line.size", "Problem"} <= set(schemas)
    assert len(schemas) == 4 + MANY // 2  # and the list that each second route answers with
