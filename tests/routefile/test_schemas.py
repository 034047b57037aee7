import json
from pathlib import Path

import pytest

from app.routing.routes import Route
from tests.routefile.files import load, read_faults

WITH_SHARED = """\
version: 1
schemas:
  Order: {SHARED}
routes:
  - {name: a, method: POST, path: /a, subject: a, body_schema: BODY}
  - {name: b, method: POST, path: /b, subject: b, body_schema: BODY, reply: {schema: BODY}}
"""


def write_shared(shared: str, body: str = '{$ref: "#/schemas/Order"}') -> str:
    return WITH_SHARED.replace("{SHARED}", shared).replace("BODY", body)


def find_body_faults(route: Route, body: str) -> list[str]:
    check = route.body_rules.check_body(body.encode())
    return [] if check is None else [pointer for pointer, _ in check.schema.find_faults(json.loads(body), limit=9)]


def test_any_schema_may_refer_to_a_shared_one_by_its_name(file: Path) -> None:
    (file.parent / "list.json").write_text('{"type": "array", "items": {"$ref": "#/schemas/Order"}}')
    (file.parent / "order.yaml").write_text('properties: {id: {$ref: "#/$defs/id"}}\n$defs: {id: {type: integer}}')
    inner = 'order.yaml\n  Pair: {anyOf: [{$ref: "#/schemas/Order"}, {type: "null"}], examples: [{$ref: "x"}]}'
    for body, right, wrong, pointer in [
        ('{items: {anyOf: [{$ref: "#/schemas/Pair"}]}}', '[{"id": 1}, null]', '[{"id": "x"}]', "/0"),
        ('{properties: {a: {items: {$ref: "#/schemas/Order"}}}}', '{"a": [{}]}', '{"a": [{"id": ""}]}', "/a/0/id"),
        ("list.json", '[{"id": 1}]', '[{"id": 1}, {"id": "x"}]', "/1/id"),
    ]:  # fmt: skip
        for route in load(file, write_shared(inner, body)).table.routes:
            assert find_body_faults(route, right) == []
            assert find_body_faults(route, wrong) == [pointer]


def test_a_shared_schema_may_refer_to_itself(file: Path) -> None:
    text = write_shared('{type: object, properties: {parts: {items: {$ref: "#/schemas/Order"}}}}')
    route = load(file, text).table.routes[0]
    assert find_body_faults(route, '{"parts": [{"parts": []}]}') == []
    assert find_body_faults(route, '{"parts": [{"parts": [5]}]}') == ["/parts/0/parts/0"]


@pytest.mark.parametrize(
    ("shared", "body", "faults"),
    [
        # A shared schema that is wrong is told once, whoever refers to it.
        ("{type: objct}", '{$ref: "#/schemas/Order"}', [
            '3:17: schemas.Order.type: "objct": is not a type of JSON Schema, did you mean `object`?']),
        ("{type: objct}", '{items: {$ref: "#/schemas/Order"}}', ['3:17: schemas.Order.type: "objct": is not a type']),
        ("{items: {$ref: https://example.com/a}}", '{$ref: "#/schemas/Order"}', [
            '3:25: schemas.Order.items.$ref: "https://example.com/a": a reference leads to a place in']),
        ("order.json", '{$ref: "#/schemas/Order"}', ['3:10: schemas.Order: "order.json": order.json: no such file']),
        ("5", '{$ref: "#/schemas/Order"}', ["3:10: schemas.Order: 5: must be a JSON Schema, or the path of a file"]),
        ("{}\n  a b: {}", "{}", ['4:8: schemas.a b: "a b": the name of a schema is 1 to 64 of letters']),
        ("{$schema: 'http://json-schema.org/draft-07/schema#'}", "{}", [
            '3:20: schemas.Order.$schema: "http://json-schema.org/draft-07/schema#": shared schemas must be of ht']),
        ("{}", '{$ref: "#/schemas/Ordr"}', [
            '5:71: routes[0].body_schema.$ref: "#/schemas/Ordr": `schemas` has no `Ordr`, did you mean `Order`?',
            '6:71: routes[1].body_schema.$ref: "#/schemas/Ordr": `schemas` has no `Ordr`, did you mean `Order`?',
            '6:113: routes[1].reply.schema.$ref: "#/schemas/Ordr": `schemas` has no `Ordr`, did you mean `Order`?']),
        # So is a schema in a file, and one that an alias repeats.
        ("{}", "wrong.json", [
            '5:64: routes[0].body_schema: "wrong.json": wrong.json:2:30: properties.a.type: "sting": is not a type']),
        ("{}", "none.json", ['5:64: routes[0].body_schema: "none.json": none.json: no such file or directory']),
        ("&x {type: objct}", "*x", ['3:20: schemas.Order.type: "objct": is not a type of JSON Schema']),
    ],
)  # fmt: skip
def test_one_mistake_in_a_schema_is_one_line(file: Path, shared: str, body: str, faults: list[str]) -> None:
    (file.parent / "wrong.json").write_text('{\n"properties": {"a": {"type": "sting"}}}')
    told = read_faults(file, write_shared(shared, body))
    assert [text[: len(fault)] for text, fault in zip(told, faults, strict=True)] == faults


def test_a_wrong_schema_in_defaults_is_told_once(file: Path) -> None:
    text = write_shared("{}", "{}").replace(", body_schema: {}", "")
    (fault,) = read_faults(file, text + "defaults: {body_schema: {type: objct}}\n")
    assert fault.startswith('7:32: defaults.body_schema.type: "objct": is not a type of JSON Schema')


def test_many_routes_share_a_large_schema_for_the_price_of_one(file: Path) -> None:
    big = json.dumps({"properties": {f"p{n}": {"type": "string", "description": "x" * 100} for n in range(800)}})
    line = '- {{name: r{0}, method: POST, path: /r{0}, subject: r, body_schema: {{$ref: "#/schemas/Big"}}}}\n'
    routes = "".join(line.format(number) for number in range(2000))
    read = load(file, f"version: 1\nschemas: {{Big: {big}}}\nroutes:\n{routes}")
    assert len({id(route.body_rules._schema) for route in read.table.routes}) == 1
