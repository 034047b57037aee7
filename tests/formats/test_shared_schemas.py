import json
from typing import Any

import pytest

from app.formats.schemas import Schema
from app.formats.shared_schemas import SharedSchemas

TREE: Any = {
    "type": "object",
    "properties": {"size": {"$ref": "#/$defs/size"}, "inner": {"type": "array", "items": {"$ref": "#/schemas/Tree"}}},
    "$defs": {"size": {"type": "integer"}},
}
NAMED: Any = {"Tree": TREE, "Pair": {"items": {"$ref": "#/schemas/Tree"}, "maxItems": 2}, "Alone": {"type": "string"}}


def list_pointers(schema: Schema, value: object) -> list[str]:
    return [pointer for pointer, _ in schema.find_faults(value, limit=20)]


def test_a_schema_checks_values_by_the_shared_ones_that_it_refers_to() -> None:
    schema = SharedSchemas(NAMED).compile({"properties": {"pair": {"$ref": "#/schemas/Pair"}}})
    assert schema.is_valid({"pair": [{"size": 1, "inner": [{"inner": []}]}]})
    wrong = {"pair": [{"inner": [{"size": "x"}]}, {}, {}]}
    assert sorted(list_pointers(schema, wrong)) == ["/pair", "/pair/0/inner/0/size"]


def test_the_text_of_a_schema_has_all_that_it_takes_to_check_a_body_elsewhere() -> None:
    schema = SharedSchemas(NAMED).compile({"items": {"$ref": "#/schemas/Tree/properties/size"}})
    elsewhere = Schema(json.loads(schema.text))
    assert list_pointers(elsewhere, [1, "x"]) == ["/1"]
    assert "Alone" not in schema.text


def test_a_schema_that_is_only_a_reference_is_the_shared_one() -> None:
    schemas = SharedSchemas({**NAMED, "Same": {"$ref": "#/schemas/Alone"}, "Round": {"$ref": "#/schemas/Round"}})
    alone = schemas.compile({"$ref": "#/schemas/Alone"})
    assert alone.document is NAMED["Alone"]
    assert alone.is_plain
    assert schemas.compile({"$ref": "#/schemas/Same"}) is alone
    assert schemas.compile({"$ref": "#/schemas/Round"}).is_valid(1)


def test_a_schema_is_compiled_once_however_often_it_is_written() -> None:
    schemas = SharedSchemas(NAMED, {"order.yaml": {"type": "object"}})
    for text in ('{"$ref": "#/schemas/Tree"}', '{"type": "array", "items": {"$ref": "#/schemas/Tree"}}'):
        assert schemas.compile(json.loads(text)) is schemas.compile(json.loads(text))
    assert schemas.compile(schemas.resolve("order.yaml")) is schemas.compile(schemas.resolve("order.yaml"))


def test_the_shared_schemas_behind_one_are_found_in_their_order() -> None:
    schemas = SharedSchemas(NAMED)
    assert schemas.list_names({"items": {"$ref": "#/schemas/Pair"}}) == ["Tree", "Pair"]
    assert schemas.list_names(None, {"type": "string"}) == []


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"type": "objct", "items": {"$ref": "https://x"}, "not": {"$ref": "#/schemas/Tre"}}, ["items", "not", "type"]),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "not": {"$ref": "#/schemas/Tree"}}, ["$schema"]),
        ({"properties": {"a": 5}, "not": {"$ref": "#/$defs/a"}}, ["not", "properties"]),
        ({"not": {"$ref": "#/schemas/Tree"}, "pattern": "("}, ["pattern"]),
        ({"$ref": 5}, ["$ref"]),
        ([], [None]),
    ],
)
def test_all_that_is_wrong_with_a_schema_is_found_once(document: Any, paths: list[str]) -> None:
    faults = SharedSchemas(NAMED).find_faults(document)
    assert sorted(path[0] if path else None for path, _ in faults) == paths  # type: ignore[type-var]


def test_what_is_wrong_with_a_schema_that_is_referred_to_is_no_fault_of_the_one_that_refers() -> None:
    schemas = SharedSchemas({"Order": {"type": "objct"}})
    assert schemas.find_faults({"items": {"$ref": "#/schemas/Order"}}) == ()
    assert len(schemas.find_faults(schemas.named["Order"])) == 1
