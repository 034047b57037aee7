"""check, routes, explain, openapi and schema, as they are typed."""

import asyncio
import json
import re
from functools import partial
from pathlib import Path

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.edge.api_keys import digest_key
from app.routefile.load import EXAMPLES, GREET
from app.routefile.yamlparser import parse_yaml
from tests.issuer import answering, make_claims, make_jwks, run_issuer, sign
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


@pytest.mark.parametrize(
    "command", [("check",), ("routes",), ("explain", "GET", "/orders"), ("openapi",), ("token", "--sub", "sue")]
)
def test_where_no_route_file_is_named_the_packaged_one_is(orders: str, command: tuple[str, ...]) -> None:
    said = f"nats-http: neither the command line nor GATEWAY_ROUTES names a route file: using {GREET}"
    assert said in call(*command).stderr.splitlines()
    assert said not in call(*command, GATEWAY_ROUTES=orders).stderr


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


EDGE = """\
version: 1
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
  shops: {type: api-key, cookie: session, file: keys.yaml}
rate_limits: {public: {average: 100, period: 1m}, each: {average: 5, period: 1s, by: key}}
routes:
  - name: a
    method: POST
    path: /a
    subject: a
    auth: {any: [partners, shops], scopes: [a:read, a], claims: {tenant: acme}}
    rate_limit: [public, each]
    allow_from: [10.0.0.0/8, '::1']
    cors: {allow_origins: ['https://b.example', 'https://a.example'], allow_origin_regex: 'https://c[0-9]'}
  - {name: b, method: GET, path: /b, subject: b, auth: none}
"""


def test_routes_say_who_may_call_how_often_and_from_where(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(FILE_OF_KEYS)
    (tmp_path / "edge.yaml").write_text(EDGE)
    titles, first, second = (
        re.split(r"  +", line) for line in call("routes", str(tmp_path / "edge.yaml")).stdout.splitlines()
    )
    assert titles[7:] == ["AUTH", "RATE LIMIT", "ALLOW FROM", "CORS"]
    assert first[7:] == [
        'partners or shops; scopes a:read a; claim tenant "acme"',
        "public (100 each 60s by ip), each (5 each 1s by key)",
        "10.0.0.0/8, ::1",
        "https://a.example, https://b.example, https://c[0-9]",
    ]
    assert second[7:] == ["open", "-", "-", "-"]


LARGE = "  - {name: big, method: PUT, path: /big, subject: big, max_body: 5MiB, timeout: 40s, max_timeout: 1m}\n"
LOWERED = [
    "route 'big': timeout 40s is over GATEWAY_MAX_TIMEOUT, so 30s applies",
    "route 'big': max_timeout 60s is over GATEWAY_MAX_TIMEOUT, so 30s applies",
    "route 'big': max_body 5MiB is over GATEWAY_MAX_BODY, so 1MiB applies",
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


def test_keys_that_never_expire_and_open_routes_that_change_something_get_a_warning(tmp_path: Path) -> None:
    path = write_guarded(tmp_path)
    done = call("check", path)
    line = f"nats-http: warning: {path}: keys.yaml: 1 of 2 keys never expire: sue\n"
    assert (done.returncode, done.stderr) == (0, line)
    done = call("check", write_guarded(tmp_path, AUTH.partition("defaults")[0] + "defaults: {auth: none}\n"))
    opened = "route 'orders-get' and 1 more: with `auth: none` anybody may send DELETE, POST"
    unused = [f"auth.{name}: no route uses this scheme, nor does GATEWAY_PAGES_AUTH" for name in ("partners", "users")]
    told = "".join(f"nats-http: warning: {path}: {text}\n" for text in (*unused, opened))
    assert done.stderr == told + line
    done = call("check", path, GATEWAY_PAGES_AUTH="users,partners")
    assert done.stderr == f"nats-http: warning: {path}: {opened}\n{line}"


def test_a_setting_for_pages_that_names_no_scheme_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    path = write_guarded(tmp_path)
    fault = (
        "nats-http: GATEWAY_PAGES_AUTH 'user': no scheme of this name is under `auth` of the route file, did you mean"
    )
    done = call("check", path, GATEWAY_PAGES_AUTH="user")
    assert (done.returncode, done.stderr.startswith(fault), done.stderr.count("\n")) == (1, True, 1), done.stderr
    assert call("check", path, GATEWAY_PAGES_AUTH="users").returncode == 0


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


AUTH = """\
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
  users: {type: jwt, issuer: 'https://id.example.com/', audience: orders, jwks_file: jwks.json}
defaults: {auth: {any: [partners, users], scopes: [orders:read], claims: {tenant: [acme, b]}}}
"""
FILE_OF_KEYS = f"""\
version: 1
keys:
  - {{name: sue, sha256: {digest_key(b"sues-key")}, scopes: [orders:read, a], claims: {{tenant: acme}}}}
  - {{name: bob, sha256: {digest_key(b"bobs-key")}, expires: 2999-01-01}}
"""


def write_guarded(folder: Path, text: str = AUTH) -> str:
    """The path of a route file that asks who calls."""
    (folder / "keys.yaml").write_text(FILE_OF_KEYS)
    (folder / "jwks.json").write_text(json.dumps(make_jwks()))
    (folder / "guarded.yaml").write_text(ORDERS + text)
    return str(folder / "guarded.yaml")


ASKED = 'partners or users; scopes orders:read; claim tenant "acme" or "b"'


@pytest.mark.parametrize(
    ("header", "caller", "why"),
    [
        (
            "X-API-Key: sues-key",
            'sue, known by partners, with scopes a orders:read\nclaims   {"tenant": "acme", ',
            None,
        ),
        ("X-API-Key: bobs-key", "bob, known by partners, without scopes", "lacks a scope that this route asks for"),
        ("X-API-Key: key", "not known", "The API key is not valid."),
        ("Accept: */*", "not known", "the request has no credential that it accepts"),
        (
            f"Authorization: Bearer {sign(make_claims(tenant='b'))}",
            "sue, known by users, with scopes orders:read",
            None,
        ),
        (f"Authorization: Bearer {sign()}", "sue, known by users, with", "lacks a claim that this route asks for"),
        (f"Authorization: Bearer {sign(make_claims(exp=7))}", "not known", "The token has expired."),
        (
            f"Authorization: Bearer {sign(make_claims(iss='i'))}",
            "not known\nwanted   https://id.example.com/\ngot      i",
            "",
        ),
    ],
)
def test_explain_says_who_the_caller_is_and_why_it_may_or_may_not(
    tmp_path: Path, header: str, caller: str, why: str | None
) -> None:
    done = call("explain", "GET", "/orders/7", "-H", header, GATEWAY_ROUTES=write_guarded(tmp_path))
    assert f"asks for {ASKED}" in done.stdout.splitlines()
    assert f"caller   {caller}" in done.stdout
    assert done.returncode == (0 if why is None else 1), done.stdout
    assert ("subject  orders.7" if why is None else why) in done.stdout
    assert header.split()[-1] not in done.stdout or header.endswith((" key", "*/*"))


async def test_explain_fetches_the_keys_of_the_issuer_only_for_a_token(tmp_path: Path) -> None:
    async with run_issuer() as issuer:
        routes = write_guarded(tmp_path, AUTH.replace("jwks_file: jwks.json", f"jwks_url: '{issuer.url}'"))
        asked = partial(asyncio.to_thread, call, "explain", "GET", "/orders/7", GATEWAY_ROUTES=routes)
        done = await asked("-H", "X-API-Key: sues-key")
        assert (done.returncode, issuer.asked) == (0, 0)
        done = await asked("-H", f"Authorization: Bearer {sign(make_claims(tenant='b'))}")
        assert (done.returncode, issuer.asked) == (0, 1)
        assert "caller   sue, known by users" in done.stdout
        issuer.answer = answering(b"", status=500)
        done = await asked("-H", f"Authorization: Bearer {sign()}")
        assert done.stdout.startswith("status   503\n")
        assert "keys-not-fetched" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "rules", "lines", "why"),
    [
        (("/docs",), None, ["page     /docs", "seen by  everybody, as GATEWAY_PAGES_AUTH is not set"], None),
        (("/livez",), "partners", ["page     /livez", "seen by  everybody"], None),
        (
            ("/status/data?x=1", "-H", "X-API-Key: sues-key"),
            "partners,users:a",
            [
                "page     /status/data",
                "seen by  partners or users; scopes a (GATEWAY_PAGES_AUTH)",
                "caller   sue, known by partners, with scopes a orders:read",
            ],
            None,
        ),
        (
            ("/%64ocs", "-H", "X-API-Key: bobs-key"),
            "partners:a",
            ["status   403", "page     /docs", "seen by  partners; scopes a (GATEWAY_PAGES_AUTH)"],
            "/problems/forbidden",
        ),
        (
            ("/problems/nothing", "-H", "X-API-Key: no"),
            "partners",
            ["page     /problems/{slug}", "seen by  everybody"],
            None,
        ),
        (
            ("/metrics", "-H", "X-API-Key: no"),
            "partners",
            ["status   401", "page     /metrics", "caller   not known"],
            "/problems/unauthenticated",
        ),
        (("/docs/nothing/there",), "partners", ["status   404"], "/problems/not-found"),
    ],
)
def test_explain_says_who_sees_a_page_and_whether_this_caller_does(
    tmp_path: Path, arguments: tuple[str, ...], rules: str | None, lines: list[str], why: str | None
) -> None:
    settings = {"GATEWAY_PAGES_AUTH": rules} if rules else {}
    done = call("explain", "GET", *arguments, GATEWAY_ROUTES=write_guarded(tmp_path), **settings)
    assert set(lines) <= set(done.stdout.splitlines()), done.stdout
    assert (done.returncode, why or "") == (1 if why else 0, why if why and why in done.stdout else "")


def test_explain_says_of_a_page_which_methods_it_takes_and_which_scheme_the_setting_lacks(tmp_path: Path) -> None:
    routes = write_guarded(tmp_path)
    done = call("explain", "POST", "/docs", GATEWAY_ROUTES=routes)
    assert (done.returncode, "\nallow    GET, HEAD\n" in done.stdout) == (1, True)
    done = call("explain", "GET", "/docs", GATEWAY_ROUTES=routes, GATEWAY_PAGES_AUTH="user")
    assert (done.returncode, "GATEWAY_PAGES_AUTH 'user': no scheme of this name" in done.stderr) == (1, True)


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
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, f"status   {status}")
    assert json.loads(done.stdout[done.stdout.index("\n{") :])["type"] == f"/problems/{slug}"


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
