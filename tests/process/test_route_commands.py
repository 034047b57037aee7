"""check, routes, explain, openapi and schema, as they are typed."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.routefile.load import EXAMPLES
from app.routefile.yamltree import parse_yaml
from tests.process.programs import call

ORDERS = """\
version: 1
routes:
  - name: orders-get
    method: [GET, DELETE]
    path: /orders/{id}
    subject: orders.{id}.get
    payload: params
    params:
      id: {type: integer, min: 1}
      x: {in: query, type: number}
    timeout: 500ms
  - name: orders-make
    method: POST
    path: /orders
    subject: orders.make
    max_body: 40
    body_schema: {type: object, required: [item]}
"""


@pytest.fixture
def orders(tmp_path: Path) -> str:
    path = tmp_path / "orders.yaml"
    path.write_text(ORDERS)
    return str(path)


def explain(orders: str, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the rows of the answer by their names."""
    done = call("explain", *arguments, GATEWAY_ROUTES=orders)
    assert done.stderr == ""
    return done.returncode, dict(line.split(None, 1) for line in done.stdout.splitlines() if " " in line.strip())


# check and routes


def test_check_tells_how_many_routes_hold(orders: str) -> None:
    done = call("check", orders)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{orders}: 2 routes, all right\n", "")


def test_check_without_a_file_takes_that_of_the_settings_or_the_packaged_one(orders: str) -> None:
    assert call("check", GATEWAY_ROUTES=orders).stdout.startswith(f"{orders}: 2 routes")
    assert call("check").stdout.endswith("greet.yaml: 1 route, all right\n")


def test_check_tells_all_that_is_wrong_and_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(ORDERS.replace("timeout: 500ms", "timeuot: 500ms").replace("max_body: 40", "max_body: 40KB"))
    done = call("check", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"nats-http: {path}:11:5: routes[0].timeuot: unknown key, did you mean `timeout`?",
        (
            f'nats-http: {path}:16:15: routes[1].max_body: "40KB": a size is a whole number of bytes, or one with '
            "KiB or MiB: 1048576, 64KiB or 1MiB"
        ),
    ]


@pytest.mark.parametrize(("name", "reason"), [("nothing.yaml", "no such file or directory"), (".", "is a directory")])
def test_a_file_that_can_t_be_read_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    done = call("check", str(tmp_path / name))
    assert (done.returncode, done.stderr) == (1, f"nats-http: {tmp_path / name}: {reason}\n")


def test_a_merge_has_a_largest_body(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("version: 1\nroutes: [{name: a, method: PUT, path: /a, subject: a, payload: merge}]\n")
    assert call("routes", str(file)).stdout.splitlines()[1].split() == ["a", "PUT", "/a", "a", "merge", "2s", "256KiB"]


def test_routes_are_a_table(orders: str) -> None:
    assert call("routes", GATEWAY_ROUTES=orders, GATEWAY_TIMEOUT="3s").stdout.splitlines() == [
        "NAME         METHOD      PATH          SUBJECT          PAYLOAD  TIMEOUT  MAX BODY",
        "orders-get   GET,DELETE  /orders/{id}  orders.{id}.get  params   500ms    -",
        "orders-make  POST        /orders       orders.make      body     3s       40",
    ]


LARGE = "  - {name: big, method: PUT, path: /big, subject: big, max_body: 5MiB, timeout: 40s, max_timeout: 1m}\n"
LOWERED = [
    "route 'big': timeout 40s is over GATEWAY_MAX_TIMEOUT, so 30s holds",
    "route 'big': max_timeout 60s is over GATEWAY_MAX_TIMEOUT, so 30s holds",
    "route 'big': max_body 5MiB is over GATEWAY_MAX_BODY, so 1MiB holds",
]


def test_limits_over_those_of_the_settings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(ORDERS + LARGE)
    done = call("check", str(path))
    assert (done.returncode, done.stdout) == (0, f"{path}: 3 routes, all right\n")
    assert done.stderr.splitlines() == [f"nats-http: warning: {path}: {line}" for line in LOWERED]
    assert call("routes", str(path)).stdout.splitlines()[-1].split()[-2:] == ["30s", "1MiB"]
    settings = {"GATEWAY_MAX_BODY": "5MiB", "GATEWAY_MAX_TIMEOUT": "1m"}
    assert call("check", str(path), **settings).stderr == ""
    assert call("routes", str(path), **settings).stdout.splitlines()[-1].split()[-2:] == ["40s", "5MiB"]


def test_a_route_file_for_pages_of_any_origin_gets_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "open.yaml"
    path.write_text(ORDERS + "cors: {allow_origins: '*'}\n")
    done = call("check", str(path))
    assert (done.returncode, done.stdout) == (0, f"{path}: 2 routes, all right\n")
    line = "cors: pages of any origin may call the routes, and read the gateway's own pages"
    assert done.stderr == f"nats-http: warning: {path}: {line}\n"


def test_a_scheme_of_certificates_that_nobody_can_show_gets_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "machines.yaml"
    path.write_text(ORDERS + "auth: {machines: {type: client-certificate}}\ndefaults: {auth: machines}\n")
    line = (
        "auth.machines: nobody can show a certificate: neither GATEWAY_TLS_CLIENT_CA nor GATEWAY_TRUSTED_PROXIES is set"
    )
    done = call("check", str(path))
    assert (done.returncode, done.stderr) == (0, f"nats-http: warning: {path}: {line}\n")
    assert call("check", str(path), GATEWAY_TRUSTED_PROXIES="10.0.0.1").stderr == ""


def test_explain_shows_which_fields_an_answer_gets(tmp_path: Path) -> None:
    path = tmp_path / "cors.yaml"
    path.write_text(ORDERS + "cors: {allow_origins: 'https://a.example'}\n")
    origin = ("-H", "Origin: https://a.example")
    for arguments, added in (
        (("GET", "/orders/7", *origin), "access-control-allow-origin: https://a.example"),
        (("GET", "/orders/x", *origin), "access-control-allow-origin: https://a.example"),
        (("PUT", "/orders", *origin), "access-control-allow-origin: https://a.example"),
        (
            ("OPTIONS", "/orders/7", *origin, "-H", "Access-Control-Request-Method: DELETE"),
            "access-control-allow-methods: GET, HEAD, DELETE",
        ),
    ):
        assert f"adds     {added}" in call("explain", *arguments, GATEWAY_ROUTES=str(path)).stdout.splitlines()


def test_check_takes_several_files_and_tells_what_is_wrong_in_all(orders: str, tmp_path: Path) -> None:
    assert call("check", orders, orders).stdout == 2 * f"{orders}: 2 routes, all right\n"
    bad, worse = tmp_path / "bad.yaml", tmp_path / "nothing.yaml"
    bad.write_text(ORDERS.replace("timeout: 500ms", "timeuot: 500ms"))
    done = call("check", str(bad), orders, str(worse))
    assert (done.returncode, done.stdout) == (1, f"{orders}: 2 routes, all right\n")
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [str(bad), str(worse)]


# explain


def test_explain_tells_what_would_be_sent(orders: str) -> None:
    code, rows = explain(orders, "GET", "/orders/7?x=1", "-H", "X-Request-Id: a", "-H", "Cookie: secret")
    assert (code, rows) == (
        0,
        {
            "route": "orders-get",
            "subject": "orders.7.get",
            "payload": '{"id":7,"x":1}',
            "headers": "NATS/1.0",
            "x-request-id:": "a",
            "timeout": "500ms",
        },
    )


def test_explain_believes_a_trusted_proxy(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    rule = "{name: a, method: GET, path: /a, subject: a, headers: [X-Forwarded-For], allow_from: 192.0.2.0/24}"
    routes.write_text(f"version: 1\nroutes: [{rule}]\n")
    asked = ("explain", "GET", "/a", "-H", "X-Forwarded-For: 192.0.2.7", "--from", "10.0.0.1")
    settings = {"GATEWAY_ROUTES": str(routes), "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8"}
    assert "X-Forwarded-For: 192.0.2.7" in call(*asked, **settings).stdout
    assert "status   403" in call(*asked, GATEWAY_ROUTES=str(routes)).stdout


def test_explain_reads_a_body_from_a_file_too(orders: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"item": 1}')
    json_type = ("-H", "Content-Type: application/json")
    assert explain(orders, "POST", "/orders", "-d", f"@{body}", *json_type)[1]["payload"] == '{"item": 1}'
    assert explain(orders, "post", "/orders", "-d", '{"item":2}', *json_type)[1]["payload"] == '{"item":2}'


@pytest.mark.parametrize(
    ("arguments", "status", "slug"),
    [
        (["GET", "/orders/0"], 422, "invalid-parameter"),
        (["GET", "/orders/7?x=a"], 422, "invalid-parameter"),
        (["GET", "/orders/7/"], 404, "not-found"),
        (["GET", "orders/7"], 404, "not-found"),
        (["PUT", "/orders/7"], 405, "method-not-allowed"),
        (["POST", "/orders", "-d", "{}", "-H", "Content-Type: application/json"], 422, "invalid-body"),
        (["POST", "/orders", "-d", "{}"], 415, "unsupported-media-type"),
        (["POST", "/orders", "-d", "x" * 41, "-H", "Content-Type: application/json"], 413, "payload-too-large"),
    ],
    ids=str,
)
def test_explain_tells_the_problem_and_exits_with_1(orders: str, arguments: list[str], status: int, slug: str) -> None:
    done = call("explain", *arguments, GATEWAY_ROUTES=orders)
    head, _, problem = done.stdout.partition("\n")
    assert (done.returncode, head) == (1, f"status   {status}")
    assert json.loads(problem[problem.index("{") :])["type"] == f"/problems/{slug}"


def test_explain_tells_what_a_path_allows(orders: str) -> None:
    assert (
        "<title>422 Invalid parameter</title>"
        in call(
            "explain", "--routes", orders, "GET", "/orders/x", "-H", "Accept: text/html", GATEWAY_ROOT_PATH="/api"
        ).stdout
    )
    assert explain(orders, "OPTIONS", "/orders/7") == (0, {"status": "204", "allow": "GET, HEAD, DELETE, OPTIONS"})


@pytest.mark.parametrize("header", ["nonsense", "a b: c", ": c"])
def test_explain_names_a_header_that_is_none(orders: str, header: str) -> None:
    done = call("explain", "GET", "/orders/7", "-H", header, GATEWAY_ROUTES=orders)
    assert (done.returncode, done.stderr) == (1, f"nats-http: -H '{header}': a header is 'name: value'\n")


# openapi and schema


def test_openapi_prints_a_valid_document(orders: str) -> None:
    document = json.loads(call("openapi", GATEWAY_ROUTES=orders).stdout)
    OpenAPIV31SpecValidator(document).validate()
    assert list(document["paths"]) == ["/orders/{id}", "/orders"]
    below = json.loads(call("openapi", GATEWAY_ROUTES=orders, GATEWAY_ROOT_PATH="/api").stdout)
    assert (below["servers"], document["servers"]) == ([{"url": "/api"}], [{"url": "/"}])


def test_schema_prints_what_is_committed_and_what_the_packaged_files_keep() -> None:
    printed = json.loads(call("schema").stdout)
    committed = json.loads((Path(__file__).parents[2] / "docs" / "routes.schema.json").read_text())
    assert printed == committed
    for path in EXAMPLES.parent.glob("*.yaml"):
        jsonschema_rs.validate(printed, parse_yaml(path.read_bytes()).data)
