"""`cors` in a route file: where it counts, and each mistake with its place."""

from pathlib import Path

import pytest

from app.edge.cors import Cors, CorsRules
from app.pieces import run_at_once
from app.prepared import pack, prepare, unpack
from app.routefile.cors import find_open
from app.routing.routes import Route
from tests.routefile.files import LEAST, load, load_route, read_faults

APP, OTHER = "https://app.example", "https://other.example"
ALLOWED = f"allow_origins: {APP}"
MORE = "  - {name: b, method: GET, path: /b, subject: b"


def find_rules(route: Route) -> CorsRules | None:
    return next((policy.rules for policy in route.policies if isinstance(policy, Cors)), None)


def find_origins(route: Route) -> set[str] | None:
    rules = find_rules(route)
    return set(rules.allow_origins) if rules else None


def test_all_keys_say_what_they_say(file: Path) -> None:
    keys = "allow_methods: [GET, PUT], allow_headers: X-A, expose_headers: [], allow_credentials: true, max_age: 10m"
    route = load_route(file, f"cors: {{allow_origins: [{APP}], allow_origin_regex: 'https://a+', {keys}}}")
    assert find_rules(route) == CorsRules(
        allow_origins=frozenset((APP,)),
        allow_origin_regex="https://a+",
        allow_methods=("GET", "PUT"),
        allow_headers=("X-A",),
        expose_headers=(),
        allow_credentials=True,
        max_age=600,
    )
    assert find_rules(load_route(file, f"cors: {{allow_origins: {APP}}}")) == CorsRules(allow_origins=frozenset((APP,)))


def test_the_file_is_for_all_routes_and_defaults_and_routes_take_its_place(file: Path) -> None:
    top, defaults = f"cors: {{allow_origins: {APP}}}\n", f"defaults: {{cors: {{allow_origins: {OTHER}}}}}\n"
    for head, expected in (
        (top, {APP}),
        (top + defaults, {OTHER}),
        (top + "defaults: {cors: none}\n", None),
        ("", None),
    ):
        first, second = load(file, LEAST + MORE + ", cors: {allow_origins: 'http://own'}}\n" + head).table.routes
        assert (find_origins(first), find_origins(second)) == (expected, {"http://own"})
    assert find_origins(load(file, LEAST + MORE + ", cors: none}\n" + top).table.routes[1]) is None


def test_the_file_is_for_the_routes_of_included_files_and_those_have_none_at_their_top(file: Path) -> None:
    file.with_name("b.yaml").write_text("version: 1\nroutes:\n" + MORE + "}\n")
    head = f"version: 1\ncors: {{allow_origins: {APP}}}\ninclude: [b.yaml]\n"
    assert find_origins(load(file, head).table.routes[0]) == {APP}
    file.with_name("b.yaml").write_text("version: 1\ncors: {allow_origins: '*'}\nroutes:\n" + MORE + "}\n")
    (fault,) = read_faults(file, head)
    assert fault.endswith("2:1: cors: only the file that includes this one may have it")


def test_rules_are_handed_on_with_the_routes(file: Path) -> None:
    read = load(file, LEAST + f"cors: {{{ALLOWED}, max_age: 90s}}\n")
    for prepared in (prepare(read), run_at_once(unpack(pack(read)))):
        assert prepared.cors is not None
        assert prepared.cors.rules == CorsRules(allow_origins=frozenset((APP,)), max_age=90)
        assert [find_rules(route) for route in prepared.table.routes] == [prepared.cors.rules]
    assert run_at_once(unpack(pack(load(file, LEAST)))).cors is None


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("cors:", "7:10: routes[0].cors: must be a mapping, or `none`"),
        ("cors: all", '7:11: routes[0].cors: "all": must be a mapping, or `none`'),
        ("cors: {}", "7:11: routes[0].cors: must have `allow_origins` or `allow_origin_regex`"),
        ("cors: {allow_origins: []}", "7:27: routes[0].cors.allow_origins: must not be empty"),
        ("cors: {allow_origins: null}", "7:27: routes[0].cors.allow_origins: must be a list"),
        ("cors: {allow_origin: '*'}", "7:12: routes[0].cors.allow_origin: unknown key, did you mean `allow_origins`?"),
        ("cors: {allow_origins: [1]}", "7:28: routes[0].cors.allow_origins[0]: 1: must be a text"),
        ("cors: {allow_origins: 'null'}", '7:27: routes[0].cors.allow_origins: "null": any page can make its'),
        ("cors: {allow_origins: [a]}", '7:28: routes[0].cors.allow_origins[0]: "a": an origin is a scheme and'),
        ("cors: {allow_origin_regex: '('}", '7:32: routes[0].cors.allow_origin_regex: "(": it is not a regular'),
        (f"cors: {{{ALLOWED}, allow_methods: get}}", "allow_methods: \"get\": must be 'GET', 'POST'"),
        (f"cors: {{{ALLOWED}, allow_methods: []}}", "allow_methods: must not be empty"),
        (
            f"cors: {{{ALLOWED}, allow_headers: [a b]}}",
            'allow_headers[0]: "a b": must be the name of a header',
        ),
        (f"cors: {{{ALLOWED}, max_age: -1}}", "max_age: -1: must be a duration such as 10m"),
        (f"cors: {{{ALLOWED}, max_age: 1e9}}", "max_age: 1000000000.0: must be a duration such as 10m"),
        (f"cors: {{{ALLOWED}, max_age: true}}", "max_age: true: must be a duration such as 10m"),
        (f"cors: {{{ALLOWED}, max_age: 2880m}}", 'max_age: "2880m": must be a duration such as 10m'),
        (f"cors: {{{ALLOWED}, allow_credentials: yes}}", 'allow_credentials: "yes": must be true or false'),
        (
            "cors: {allow_credentials: true, allow_origins: '*'}",
            "7:31: routes[0].cors.allow_credentials: true: can't go",
        ),
        (
            f"cors: {{allow_credentials: true, {ALLOWED}, allow_headers: '*'}}",
            "can't go with `*` in allow_headers",
        ),
        (
            f"cors: {{allow_credentials: true, {ALLOWED}, expose_headers: '*'}}",
            "can't go with `*` in expose_headers",
        ),
        (
            f"cors: {{allow_credentials: true, {ALLOWED}, allow_methods: '*'}}",
            "can't go with `*` in allow_methods",
        ),
        (
            "cors: {allow_credentials: true, allow_origin_regex: 'https?://.*'}",
            "can't go with an allow_origin_regex for any",
        ),
        (
            f"cors: {{allow_origins: {APP}}}\n    reply: {{headers: [Access-Control-Allow-Origin]}}",
            '8:23: routes[0].reply.headers[0]: "Access-Control-Allow-Origin": `cors`',
        ),
        (
            f"cors: {{allow_origins: {APP}}}\n    reply: {{set_headers: {{access-control-max-age: '5'}}}}",
            'routes[0].reply.set_headers.access-control-max-age: "5": `cors`',
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(file: Path, keys: str, fault: str) -> None:
    head = "version: 1\nroutes:\n  - name: a\n    method: GET\n    path: /a\n    subject: a\n    "
    (found,) = read_faults(file, head + keys + "\n")
    assert found.startswith(fault) if fault[0].isdigit() else fault in found


def test_a_mistake_at_the_top_is_told_once(file: Path) -> None:
    found = read_faults(file, LEAST + MORE + "}\ncors: {allow_origins: '*', allow_credentials: true}\n")
    assert found == [
        (
            "5:47: cors.allow_credentials: true: can't go with `*` in allow_origins: any site could act as its "
            "visitors; list what you mean"
        )
    ]


def test_rules_for_any_origin_are_named_once_for_all_routes_that_have_them(file: Path) -> None:
    own = "cors: {allow_origin_regex: 'https://.*'}"
    routes = LEAST + f"{MORE}, {own}}}\n  - {{name: c, method: GET, path: /c, subject: c, {own}}}\n"
    read = load(file, routes + "cors: {allow_origins: '*'}\n")
    assert list(find_open(read.cors, read.table.routes)) == [
        "cors: pages of any origin may call the routes, and read the gateway's own pages",
        "route 'b' and 1 more: cors: pages of any origin may call",
    ]
    closed = load(file, LEAST + f"cors: {{allow_origins: {APP}}}\n")
    assert list(find_open(closed.cors, closed.table.routes)) == []
