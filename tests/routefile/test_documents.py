"""Route files that include others."""

import os
from pathlib import Path

import pytest

from app.pieces import run_at_once
from app.prepared import pack, unpack
from app.routefile import documents
from app.routefile.load import RouteFile, RouteFileError, load_route_file

MAIN = """\
version: 1
prefix: /v1
include: [orders.yaml, pets/*.yaml]
defaults: {timeout: 1s, tags: [all], params: {tenant: {in: header, header: tenant}}}
schemas: {Id: {type: integer}}
routes: [{name: hello, method: GET, path: /hello, subject: hello}]
"""
ORDERS = """\
version: 1
prefix: /orders
defaults: {timeout: 2s, params: {id: {in: path}}}
schemas: {Order: {properties: {id: {$ref: "#/schemas/Id"}}}}
routes:
  - {name: order, method: GET, path: "/by/{id}", subject: "orders.{id}", reply: {schema: {$ref: "#/schemas/Order"}}}
"""
CATS = "version: 1\nroutes: [{name: cats, method: POST, path: /cats, subject: cats, body_schema: cat.json}]\n"
DOGS = "version: 1\ninclude: [../more/toys.yaml]\nroutes: [{name: dogs, method: GET, path: /dogs, subject: dogs}]\n"
OTHER = "routes: [{name: a, method: GET, path: /a, subject: a}]"
TOYS = "version: 1\nroutes: [{name: toys, method: PUT, path: /toys, subject: toys, body_schema: toy.yaml}]\n"


@pytest.fixture
def main(tmp_path: Path) -> Path:
    for name, text in {
        "main.yaml": MAIN,
        "orders.yaml": ORDERS,
        "pets/cats.yaml": CATS,
        "pets/dogs.yaml": DOGS,
        "pets/cat.json": '{"type": "object"}',
        "more/toys.yaml": TOYS,
        "more/toy.yaml": "type: array",
    }.items():
        write(tmp_path / name, text)
    return tmp_path / "main.yaml"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def read_faults(main: Path) -> list[str]:
    with pytest.raises(RouteFileError) as caught:
        load_route_file(main)
    return [fault.replace(f"{main.parent}{os.sep}", "") for fault in caught.value.faults]


def test_the_routes_of_all_files_stand_in_one_table_below_their_prefixes(main: Path) -> None:
    read = load_route_file(main)
    assert {route.name: route.path for route in read.table.routes} == {
        "hello": "/v1/hello",
        "order": "/v1/orders/by/{id}",
        "cats": "/v1/cats",
        "dogs": "/v1/dogs",
        "toys": "/v1/toys",
    }


def test_each_file_has_its_own_defaults_and_those_of_the_files_that_include_it(main: Path) -> None:
    routes = {route.name: route for route in load_route_file(main).table.routes}
    assert {name: route.timeout for name, route in routes.items()} == {
        "hello": 1.0, "order": 2.0, "cats": 1.0, "dogs": 1.0, "toys": 1.0,
    }  # fmt: skip
    assert {route.tags for route in routes.values()} == {("all",)}
    assert [parameter.name for parameter in routes["order"].parameters] == ["id", "tenant"]
    assert [parameter.name for parameter in routes["hello"].parameters] == ["tenant"]


def test_schemas_are_shared_by_all_files_and_a_schema_file_is_sought_beside_the_file_that_names_it(main: Path) -> None:
    routes = {route.name: route for route in load_route_file(main).table.routes}
    assert routes["order"].schemas.compile(routes["order"].reply.schema).is_valid({"id": 1})
    assert not routes["order"].schemas.compile(routes["order"].reply.schema).is_valid({"id": "a"})
    assert (routes["cats"].body_schema, routes["toys"].body_schema) == ({"type": "object"}, {"type": "array"})


def test_all_files_are_known_and_another_process_gets_the_same_routes(main: Path) -> None:
    read: RouteFile = load_route_file(main)
    names = ["main.yaml", "pets/dogs.yaml", "pets/../more/toys.yaml", "pets/cats.yaml", "orders.yaml"]
    schemas = ["pets/cat.json", "pets/../more/toy.yaml"]
    folders = ["pets"]  # whose files a pattern means
    assert set(read.files) == {main.parent / name for name in (*names, *schemas, *folders)}
    again = run_at_once(unpack(pack(read)))
    assert [(r.name, r.path, r.body_schema) for r in again.table.routes] == [
        (r.name, r.path, r.body_schema) for r in read.table.routes
    ]


def test_a_first_file_may_only_include_others(main: Path) -> None:
    main.write_text("version: 1\ninclude: [orders.yaml]\nschemas: {Id: {}}\n")
    assert [route.path for route in load_route_file(main).table.routes] == ["/orders/by/{id}"]


def test_a_pattern_does_not_mean_its_own_file_nor_hidden_ones(main: Path) -> None:
    write(main.parent / ".hidden.yaml", "not a route file")
    main.write_text("version: 1\ninclude: ['*.yaml']\nschemas: {Id: {}}\n")
    assert [route.name for route in load_route_file(main).table.routes] == ["order"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("include: [nope.yaml]", 'main.yaml:2:11: include[0]: "nope.yaml": nope.yaml: no such file or directory'),
        ("include: [nope/*.yaml]", 'main.yaml:2:11: include[0]: "nope/*.yaml": no file has a name that matches'),
        ("include: [/*.yaml]", 'main.yaml:2:11: include[0]: "/*.yaml": a pattern must be relative to the folder'),
        ("include: [main.yaml]", 'main.yaml:2:11: include[0]: "main.yaml": main.yaml would include itself'),
        ("include: [pets/../main.yaml]", 'main.yaml:2:11: include[0]: "pets/../main.yaml": pets/../main.yaml would'),
        ("include: []", "main.yaml:2:10: include: must not be empty"),
        ("include: orders.yaml", 'main.yaml:2:10: include: "orders.yaml": must be a list'),
        ("include: [7]", "main.yaml:2:11: include[0]: 7: must be a text; put it into quotes"),
        (f"prefix: v1\n{OTHER}", "main.yaml:2:9: prefix: \"v1\": path 'v1' must begin with '/'"),
        (f"prefix: '/a/{{b...}}'\n{OTHER}", 'main.yaml:2:9: prefix: "/a/{b...}": prefix'),
    ],
)
def test_a_mistake_in_the_first_file_is_told_with_its_place(main: Path, text: str, fault: str) -> None:
    main.write_text(f"version: 1\n{text}\n")
    assert read_faults(main)[0].startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("include: [main.yaml]\nroutes: []", '2:11: include[0]: "main.yaml": main.yaml would include itself'),
        (f"info: {{title: x}}\n{OTHER}", "2:1: info: only the file that includes this one may have it"),
        (f"schemas: {{Id: {{}}}}\n{OTHER}", "2:11: schemas.Id: main.yaml already has a schema of this name"),
        (OTHER.replace("name: a", "name: hello"), "2:17: routes[0].name: \"hello\": two routes have the name 'hello'"),
        (
            OTHER.replace("path: /a", "path: /hello"),
            "2:39: routes[0].path: \"/hello\": routes 'hello' and 'a' both match",
        ),
        (OTHER.replace("subject: a", "subject: a, timeout: 2"), "2:64: routes[0].timeout: 2: a duration is"),
        (f"defaults: {{timeout: 0}}\n{OTHER}", "2:21: defaults.timeout: 0: a duration is"),
    ],
)
def test_a_mistake_in_an_included_file_names_that_file(main: Path, text: str, fault: str) -> None:
    write(main.parent / "orders.yaml", f"version: 1\n{text}\n")
    assert read_faults(main)[0].startswith(f"orders.yaml:{fault}")


def test_a_file_that_can_not_be_read_is_told_where_it_is_named(main: Path) -> None:
    write(main.parent / "orders.yaml", "nonsense\n")
    assert read_faults(main)[0].startswith('orders.yaml:1:1: the file: "nonsense": must be a mapping')
    write(main.parent / "orders.yaml", "a: [\n")
    assert read_faults(main)[0].startswith('main.yaml:3:11: include[0]: "orders.yaml": orders.yaml:2:1: not YAML')
    write(main.parent / "more/toys.yaml", TOYS.replace("toy.yaml", "no.json"))
    assert read_faults(main)[-1].endswith('body_schema: "no.json": pets/../more/no.json: no such file or directory')


def test_a_mistake_in_defaults_that_shows_in_another_file_stands_where_it_is_written(main: Path) -> None:
    text = MAIN.replace("timeout: 1s", "max_timeout: 500ms").replace("subject: hello}", "subject: hello, timeout: 1ms}")
    main.write_text(text)
    (fault,) = read_faults(main)
    assert fault.startswith('orders.yaml:3:21: routes[0].timeout: "2s": it is over max_timeout')
    main.write_text(MAIN.replace("tags: [all]", "headers: [host]"))
    assert read_faults(main) == [
        "main.yaml:4:35: routes[0].headers[0]: \"host\": header 'host' can't be forwarded",
    ]


def test_there_are_at_most_so_many_files_and_bytes(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_FILES", 4)
    assert read_faults(main)[0].endswith(": there are more than 4 files")
    monkeypatch.setattr(documents, "MAX_FILES", 5)
    monkeypatch.setattr(documents, "MAX_BYTES", 700)
    assert read_faults(main)[0].endswith(": the files have more than 700 bytes together")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ('"x\\0.yaml"', "embedded null byte"),
        ("loop.yaml", "symlink loop"),
        ("pipe.yaml", "pipe.yaml: not a regular file"),
        ("pets", "is a directory"),
    ],
)
def test_what_is_no_file_is_told_and_not_waited_for(main: Path, name: str, reason: str) -> None:
    (main.parent / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(main.parent / "pipe.yaml")
    main.write_text(f"version: 1\ninclude: [{name}]\n")
    (fault,) = read_faults(main)
    assert fault.startswith("main.yaml:2:11: include[0]: ")
    assert reason in fault


def test_a_pipe_in_the_place_of_a_schema_is_not_waited_for(main: Path) -> None:
    os.mkfifo(main.parent / "pipe.json")
    main.write_text(f"version: 1\n{OTHER.replace('subject: a', 'subject: a, reply: {schema: pipe.json}')}\n")
    assert read_faults(main)[0].endswith('"pipe.json": pipe.json: not a regular file')


def test_a_file_of_another_folder_is_included_by_its_whole_path(
    main: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other / "cats.yaml", CATS)
    write(other / "cat.json", '{"type": "null"}')
    main.write_text(f"version: 1\ninclude: [{other}/cats.yaml]\n")
    (route,) = load_route_file(main).table.routes
    assert route.body_schema == {"type": "null"}


def test_the_prefix_counts_where_a_path_is_right_only_with_it(main: Path) -> None:
    text = """{name: a, method: GET, path: "/{x}", subject: "a.{t}.{x}"}"""
    main.write_text(f"version: 1\nprefix: '/v1/{{t}}'\nroutes: [{text}]\n")
    (route,) = load_route_file(main).table.routes
    assert route.path == "/v1/{t}/{x}"


def test_a_file_is_included_once(main: Path) -> None:
    main.write_text(MAIN.replace("[orders.yaml, pets/*.yaml]", "[orders.yaml, pets/*.yaml, ./orders.yaml]"))
    assert read_faults(main) == [
        'main.yaml:3:37: include[2]: "./orders.yaml": orders.yaml is included by main.yaml already'
    ]


def test_a_chain_of_many_files_is_read(tmp_path: Path) -> None:
    for number in range(900):
        rest = f"include: [{number + 1}.yaml]" if number < 899 else ""
        route = f"{{name: r{number}, method: GET, path: /r{number}, subject: r}}"
        (tmp_path / f"{number}.yaml").write_text(f"version: 1\n{rest}\nroutes: [{route}]\n")
    assert len(load_route_file(tmp_path / "0.yaml").table.routes) == 900
