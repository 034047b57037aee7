"""The part of an OpenAPI document that is about one tag."""

import json

from app.pages.openapi_part import select_tag

REF = "#/components/schemas/"
DOCUMENT = {
    "openapi": "3.1.0",
    "tags": [{"name": "a"}, {"name": "b"}],
    "paths": {
        "/both": {
            "get": {"tags": ["a"], "responses": {"200": {"$ref": f"{REF}A"}}},
            "post": {"tags": ["b"]},
            "parameters": [],
        },
        "/other": {"get": {"tags": ["b"]}},
        "/none": {"get": {}},
    },
    "components": {
        "schemas": {"A": {"items": {"$ref": f"{REF}C"}}, "B": {}, "C": {"$ref": f"{REF}A"}, "P": {}},
        "responses": {"Problem": {"$ref": f"{REF}P"}},
    },
}


def test_only_operations_of_the_tag_and_what_they_need_are_left() -> None:
    part = json.loads(select_tag(json.dumps(DOCUMENT).encode(), "a") or b"")
    assert part["tags"] == [{"name": "a"}]
    assert list(part["paths"]) == ["/both"]
    assert list(part["paths"]["/both"]) == ["get", "parameters"]
    assert list(part["components"]["schemas"]) == ["A", "C", "P"]


def test_a_tag_that_nothing_has_has_no_document() -> None:
    assert select_tag(json.dumps(DOCUMENT).encode(), "c") is None
