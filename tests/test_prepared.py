"""What a process that has read a route file hands over makes the same routes in another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.formats.schemas import Json
from app.pages.openapi import build_openapi
from app.pieces import run_at_once
from app.prepared import PreparedRoutes, pack, pack_faults, prepare, read_head, unpack
from app.routefile.load import EXAMPLES, GREET, RouteFileError, load_route_file


def hand_over(package: bytes) -> PreparedRoutes:
    return run_at_once(unpack(package))


@pytest.mark.parametrize("path", [GREET, EXAMPLES], ids=lambda path: path.name)
def test_a_package_makes_the_same_routes_again(path: Path) -> None:
    read = load_route_file(path)
    package = pack(read)
    assert read_head(package).routes == len(read.table.routes)
    again = hand_over(package)
    tables = (read.table, again.table)
    documents = [build_openapi(table, info={}) for table in tables]
    assert documents[0] == documents[1]
    assert [route.name for route in again.table.routes] == [route.name for route in read.table.routes]
    served = prepare(read)
    assert (again.title, again.openapi) == (served.title, served.openapi)
    for route in read.table.routes:
        target = route.example_path.encode()
        for method in (*route.methods, "HEAD", "OPTIONS"):
            found = [table.match(method, target) for table in tables]
            assert [match and (match[0].name, match[1]) for match in found] == [
                found[0] and (found[0][0].name, found[0][1])
            ] * 2


def test_a_package_has_the_schemas_that_are_in_files(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("type: object")
    file = tmp_path / "routes.yaml"
    file.write_text(
        "version: 1\nroutes:\n- {name: a, method: POST, path: /a, subject: a, body_schema: schema.yaml,"
        ' summary: "two\\nlines, é, \\u2028"}\n'
    )
    (route,) = hand_over(pack(load_route_file(file))).table.routes
    assert (route.body_schema, route.summary) == ({"type": "object"}, "two\nlines, é, \u2028")


def test_a_schema_that_routes_share_is_in_the_package_and_in_the_memory_once(tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text('{"type": "object", "title": "the text of the item"}')
    file = tmp_path / "routes.yaml"
    line = "- {{name: r{0}, method: POST, path: /r{0}, subject: r, body_schema: {1}, reply: {{schema: item.json}}}}\n"
    schemas = ('{$ref: "#/schemas/Order"}', '{items: {$ref: "#/schemas/Order"}}', "item.json")
    routes = "".join(line.format(number, schemas[number % 3]) for number in range(30))
    file.write_text(f"version: 1\nschemas: {{Order: {{title: the text of the order}}}}\nroutes:\n{routes}")
    package = pack(load_route_file(file))
    routes_alone = package[: package.rindex(b"\n")]
    assert routes_alone.count(b"the text of the order") == routes_alone.count(b"the text of the item") == 1
    assert package.count(b"the text of the order") == 2  # and once in the OpenAPI document
    made = hand_over(package).table.routes
    assert len({id(route.body_rules._schema) for route in made}) == 3
    assert len({id(route.reply.schema) for route in made}) == 1


def test_a_package_can_say_what_is_wrong_instead() -> None:
    package = pack_faults(["a:1:1: é\nb", "c"])
    for read in (read_head, hand_over):
        with pytest.raises(RouteFileError) as caught:
            read(package)
        assert caught.value.faults == ("a:1:1: é\nb", "c")


@pytest.mark.parametrize("data", [b"", b"oops\n"])
def test_what_is_no_package_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read_head(data)


def test_each_step_makes_or_forgets_one_route(tmp_path: Path) -> None:
    """So that its length doesn't grow with their number."""
    file = tmp_path / "routes.yaml"
    line = "- {{name: r{0}, method: [GET, POST], path: '/{0}/{{id}}/x', subject: 'r.{{id}}'}}\n"
    file.write_text("version: 1\nroutes:\n" + "".join(line.format(number) for number in range(500)))
    steps = unpack(pack(load_route_file(file)))
    assert sum(1 for _ in steps) == 500
    table = hand_over(pack(load_route_file(file))).table
    assert table.match("POST", b"/7/8/x")
    assert sum(1 for _ in table.let_go()) >= 500
    assert table.routes == ()
    assert table.match("POST", b"/7/8/x") is None
    assert table.match("HEAD", b"/7/8/x") is None


def test_the_head_of_a_package_is_a_line_of_json() -> None:
    head = json.loads(pack(load_route_file(GREET)).partition(b"\n")[0])
    assert head == {
        "title": "NATS HTTP gateway",
        "cors": None,
        "rate_limits": None,
        "secrets": {},
        "routes": 1,
        "lowered": [],
        "files": [str(GREET)],
        "discover": None,
        "remarks": [],
        "schemas": [],
        "schema_files": [],
        "schemes": [],
    }


@pytest.mark.parametrize(
    ("declared", "seen"),
    [
        ((), [{"url": "/api"}]),
        (({"url": "/"},), [{"url": "/api"}]),
        (({"url": "https://a.example"},), [{"url": "/api"}, {"url": "https://a.example"}]),
        (({"url": "/"}, {"url": "/b"}), [{"url": "/api"}, {"url": "/b"}]),
    ],
)
def test_below_a_root_the_document_names_that_before_all_other_servers(
    declared: tuple[Json, ...], seen: list[Json]
) -> None:
    prepared = prepare(replace(load_route_file(GREET), servers=declared))
    assert json.loads(prepared.write_openapi("/api"))["servers"] == seen
    assert json.loads(prepared.write_openapi(""))["servers"] == list(declared or ({"url": "/"},))
