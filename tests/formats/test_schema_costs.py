"""The cost of a schema bounds the time of a check, whatever the body is."""

import time
from typing import Any

import pytest

from app.formats.schema_costs import UNBOUNDED
from app.formats.schemas import Json, Schema, count_values
from app.formats.shared_schemas import SharedSchemas
from app.routing.bodies import COST_AT_ONCE
from tests.pace import find_slowness

MOST = 0.05  # seconds for a check at once, on a busy machine


def nest(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """The schema in so many layers that each look at it again for what is not evaluated."""
    for _ in range(depth):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


def double(steps: int, keyword: str) -> dict[str, Any]:
    twice = {f"d{step}": {keyword: [{"$ref": f"#/$defs/d{step + 1}"}] * 2} for step in range(steps)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{steps}": {"type": "integer"}}}


def measure(schema: Json, **named: Json) -> int:
    return SharedSchemas(named).measure(schema)


@pytest.mark.parametrize(
    ("schema", "cost"),
    [
        (True, 1),
        ({}, 1),
        ({"title": "a", "description": "b", "examples": [1, 2, 3]}, 1),
        ({"type": "integer", "minimum": 1}, 2),
        ({"enum": list(range(100))}, 11),
        ({"properties": {"a": {"type": "string"}, "b": {"type": "string", "maxLength": 9}}}, 3),
        ({"allOf": [{"type": "string"}, {"maxLength": 9}]}, 3),
        ({"items": {"type": "string"}}, 2),
        ({"$defs": {"a": {"type": "string"}}}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, 2),
        ({"properties": {"a": {"$ref": "#"}}}, 18),
        ({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}, 35),
        ({"allOf": [{"$ref": "#/schemas/A"}, {"$ref": "#/schemas/A"}]}, 9),
        ({"$dynamicRef": "#a", "$dynamicAnchor": "a"}, UNBOUNDED),
    ],
)
def test_a_schema_costs_as_much_as_its_keywords_and_targets(schema: Json, cost: int) -> None:
    assert measure(schema, A={"properties": {"x": {"type": "string"}}, "required": ["x"]}) == cost


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_costs_as_much_as_it_takes(keyword: str) -> None:
    assert measure(double(10, keyword)) > 2**10
    assert measure(double(100, keyword)) == UNBOUNDED


def test_the_time_to_measure_grows_only_with_the_length() -> None:
    wide: Json = {
        "$defs": {"a": {"properties": {f"p{n}": {} for n in range(5000)}}},
        "anyOf": [{"$ref": "#/$defs/a"}] * 5000,
    }
    began = time.process_time()
    measure(wide)
    measure(double(300, "anyOf"))
    assert time.process_time() - began < find_slowness()


def test_a_chain_of_references_that_is_very_long_costs_too_much() -> None:
    chain: dict[str, Json] = {f"d{step}": {"$ref": f"#/$defs/d{step + 1}"} for step in range(5000)}
    assert measure({"$ref": "#/$defs/d0", "$defs": {**chain, "d5000": True}}) == UNBOUNDED


BODIES: tuple[Any, ...] = (
    [0] * 8000,
    [[0]] * 4000,
    [{}] * 5000,
    [{"a": 1}] * 2000,
    {f"k{number}": 1 for number in range(1800)},
    "a" * 16_000,
    ["ab"] * 3000,
    {"a": {"a": {"a": {"a": {}}}}},
)
SCHEMAS: dict[str, Any] = {
    **{f"{key} {n}": double(n, key) for key in ("allOf", "anyOf", "oneOf") for n in (4, 12)},
    "items that double": {"items": {"$ref": "#/$defs/d0"}, "$defs": double(12, "allOf")["$defs"]},
    "constants": {"items": {"anyOf": [*({"const": number} for number in range(1, 100)), True]}},
    "multiples": {"items": {"allOf": [{"multipleOf": 0.1 * (number + 1)} for number in range(100)]}},
    "enum": {"items": {"enum": [*(f"a{number}" for number in range(1000)), 0, [0]]}},
    "patterns": {"patternProperties": {f"(a|b)*a.{{{n % 9}}}x{n}": True for n in range(300)}},
    "long patterns": {"allOf": [{"pattern": f"(a|b)*a(a|b){{{200 + n}}}c"} for n in range(50)]},
    "names": {"propertyNames": {"allOf": [{"minLength": number} for number in range(2)] * 50}},
    "unevaluated": nest({"properties": {"a": True}}, 12),
    "required": {"items": {"dependentRequired": {f"p{number}": ["x"] for number in range(1000)}}},
    "unique": {"allOf": [{"uniqueItems": True}] * 100},
    "leads back": {"allOf": [{"items": {"$ref": "#"}}] * 20, "properties": {"a": {"$ref": "#"}}},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_body_that_is_checked_at_once_takes_long(name: str) -> None:
    """The bodies are as long as those that are checked at once by a schema of this cost."""
    document = SCHEMAS[name]
    schema = Schema(document)
    size = min(16_384, COST_AT_ONCE // measure(document))
    for body in BODIES:
        part = body[: max(1, len(body) * size // 16_384)] if isinstance(body, str | list) else body
        if isinstance(body, dict) and size < 30:
            continue
        fitting = {key: body[key] for key in list(body)[: max(1, size // 9)]} if isinstance(body, dict) else part
        assert min(time_check(schema, fitting) for _ in range(3)) < MOST * find_slowness()


def time_check(schema: Schema, body: Any) -> float:
    """Seconds of CPU."""
    began = time.process_time()
    schema.is_valid(body)
    return time.process_time() - began


def test_values_are_counted_at_every_depth() -> None:
    assert count_values({"a": [1, {"b": None}], "c": "x"}) == 6
