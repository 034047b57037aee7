from typing import Any

import pytest

from app.formats.references import Target, read_references, rewrite, write_pointer

SHARED: Any = {"Order": {"properties": {"id": {"type": "integer"}}}, "Any": True}


def locate(document: Any) -> list[Target]:
    found = read_references(document, SHARED)
    assert found.faults == []
    return list(found.targets.values())


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("#", Target(None, ())),
        ("#/$defs/a~1b", Target(None, ("$defs", "a/b"))),
        ("#/$defs/a~1b/allOf/1", Target(None, ("$defs", "a/b", "allOf", 1))),
        ("#/%24defs/a~1b", Target(None, ("$defs", "a/b"))),
        ("#here", Target(None, ("$defs", "named"))),
        ("#/schemas/Order", Target("Order", ())),
        ("#/schemas/Order/properties/id", Target("Order", ("properties", "id"))),
        ("#/schemas/Any", Target("Any", ())),
    ],
)
def test_a_reference_leads_to_a_place_in_its_schema_or_to_a_shared_one(reference: str, target: Target) -> None:
    inner = {"a/b": {"allOf": [True, {"type": "string"}]}, "named": {"$anchor": "here"}}
    assert locate({"items": {"$ref": reference}, "$defs": inner}) == [target]


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("#/schemas/Ordr", "`schemas` has no `Ordr`, did you mean `Order`?"),
        ("#/schemas/X", "`schemas` has no `X`; known are Any, Order"),
        ("#/schemas/", "`schemas` has no ``; known are Any, Order"),
        ("#/schemas/Order/properties/no", "`#/schemas/Order` has no such place"),
        ("https://example.com/order.json", "a reference leads to a place in the same schema (`#/…`) or to `#/sch"),
        ("other.yaml#/Order", "a reference leads to a place in the same schema (`#/…`) or to `#/schemas/NAME`"),
        ("Order", "a reference leads to a place in the same schema"),
        ("#/items/0", "the schema has no such place"),
        ("#/items/$ref", "the schema has no such place"),
        ("#nowhere", "the schema has no such place"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_place(reference: str, text: str) -> None:
    ((path, told),) = read_references({"items": {"$ref": reference}}, SHARED).faults
    assert path == ("items", "$ref")
    assert told.startswith(text)


def test_a_schema_with_parts_that_have_an_address_refers_to_them_by_it() -> None:
    document: Any = {
        "$id": "https://example.com/order",
        "$defs": {"item": {"$id": "item", "$defs": {"n": {"type": "null"}}, "not": {"$ref": "#/$defs/n"}}},
        "allOf": [{"$ref": "item"}, {"$ref": "https://example.com/order#/$defs/item"}, {"$ref": "item#/$defs/n"}],
    }
    item = Target(None, ("$defs", "item"))
    inner = Target(None, ("$defs", "item", "$defs", "n"))
    assert locate(document) == [inner, item, item, inner]


def test_what_is_data_or_a_name_is_no_reference() -> None:
    document: Any = {
        "properties": {"$ref": {"type": "string"}, "const": {"$ref": "#"}},
        "const": {"$ref": "x"},
        "enum": [{"$ref": "x"}],
        "default": {"$ref": "x"},
        "examples": [{"$ref": "x"}],
    }
    assert list(read_references(document, {}).targets) == [("properties", "const")]
    assert rewrite(document, read_references(document, {}), lambda _: "#/there") == {
        **document,
        "properties": {"$ref": {"type": "string"}, "const": {"$ref": "#/there"}},
    }


def test_a_schema_moves_with_its_references() -> None:
    schema: Any = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/a",
        "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "all": {"$ref": "#"}}}},
        "allOf": [{"$ref": "#/$defs/node"}, {"$ref": "https://example.com/none"}],
        "properties": {"$id": {"type": "string"}, "a b": True},
    }
    moved = rewrite(schema, read_references(schema, {}), lambda target: write_pointer("#/x/a", target.path))
    assert moved == {
        "$defs": {"node": {"properties": {"next": {"$ref": "#/x/a/$defs/node"}, "all": {"$ref": "#/x/a"}}}},
        "allOf": [{"$ref": "#/x/a/$defs/node"}, {}],
        "properties": {"$id": {"type": "string"}, "a b": True},
    }


def test_a_pointer_is_a_fragment_of_a_uri() -> None:
    assert write_pointer("#", ("$defs", "a/b~c d%", 0)) == "#/$defs/a~1b~0c%20d%25/0"
