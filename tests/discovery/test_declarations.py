"""Routes from what services say: without metadata, with metadata, and with wrong ones."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.discovery.infos import MAX_REMARK, Endpoint, Info, Service
from app.errors import InvalidBody
from app.pieces import run_at_once
from app.prepared import pack, prepare, read_head, unpack
from app.routefile.load import RouteFile, RouteFileError, load_route_file
from app.routing.routes import Route


def endpoint(name: str = "get", subject: str = "orders.*.get", **metadata: Any) -> Endpoint:
    """`http_path` is `http.path`. What is not a text becomes JSON."""
    texts = {
        key.replace("http_", "http."): value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    return Endpoint(name, subject, texts)


def service(*endpoints: Endpoint, name: str = "orders", description: str = "") -> Service:
    return Service(Info(name, "1.2.0", "ID", description, endpoints), 1)


def load(tmp_path: Path, *services: Service, more: str = "", discover: str = "[orders, pets]") -> RouteFile:
    path = tmp_path / "routes.yaml"
    path.write_text(f"version: 1\ndiscover: {discover}\n{more}")
    return load_route_file(path, services)


def show(route: Route) -> tuple[str, str, str]:
    return "/".join(route.methods), route.path, route.subject


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (endpoint(), ("POST", "/orders/get/{token1}", "orders.{token1}.get")),
        (endpoint("orders.get"), ("POST", "/orders/get/{token1}", "orders.{token1}.get")),
        (endpoint("list", "orders.list"), ("POST", "/orders/list", "orders.list")),
        (endpoint("copy", "o.*.to.*"), ("POST", "/orders/copy/{token1}/{token2}", "o.{token1}.to.{token2}")),
        (endpoint("files", "o.*.>"), ("POST", "/orders/files/{token1}/{tail...}", "o.{token1}.{tail...}")),
        (endpoint("a b/ü", "o"), ("POST", "/orders/a~20b~2F~C3~BC", "o")),
        (endpoint(http_method="get"), ("GET", "/orders/get/{token1}", "orders.{token1}.get")),
        (endpoint(http_method="PUT, PATCH"), ("PUT/PATCH", "/orders/get/{token1}", "orders.{token1}.get")),
        (endpoint(http_path="/orders/{id}"), ("POST", "/orders/{id}", "orders.{id}.get")),
        (endpoint(subject="f.>", http_path="/f/{path...}"), ("POST", "/f/{path...}", "f.{path...}")),
        (
            endpoint(subject="a.*.b.*", http_path="/x/{b}/{a}", http_subject="a.{a}.b.{b}"),
            ("POST", "/x/{b}/{a}", "a.{a}.b.{b}"),
        ),
        (endpoint(http_path="/seven", http_subject="orders.7.get"), ("POST", "/seven", "orders.7.get")),
        (
            endpoint(http_route={"method": "GET", "path": "/o/{id}", "subject": "orders.{id}.get"}),
            ("GET", "/o/{id}", "orders.{id}.get"),
        ),
    ],
)
def test_an_endpoint_becomes_a_route(given: Endpoint, expected: tuple[str, str, str], tmp_path: Path) -> None:
    file = load(tmp_path, service(given))
    assert [show(route) for route in file.table.routes] == [expected]
    assert not file.remarks


def test_metadata_say_what_the_route_does(tmp_path: Path) -> None:
    given = endpoint(
        http_status="201",
        http_timeout="5s",
        request_schema={"type": "object"},
        response_schema={"type": "array"},
        description="Makes <b>one</b>.",
        format="application/vnd.order+json",
        http_route={"deprecated": True, "query": "strict"},
    )
    (route,) = load(tmp_path, service(given)).table.routes
    assert (route.reply.status, route.timeout, route.deprecated, route.query) == (201, 5.0, True, "strict")
    assert route.description == "Makes &lt;b>one&lt;/b>."
    assert route.reply.content_type == "application/vnd.order+json"
    assert (route.body_schema, route.reply.schema) == (
        {"$ref": "#/schemas/orders.get.request"},
        {"$ref": "#/schemas/orders.get.response"},
    )


def test_an_endpoint_may_have_several_routes_or_none(tmp_path: Path) -> None:
    several = endpoint(
        http_routes=[
            {"method": "GET", "path": "/orders/{id}"},
            {"method": "GET", "path": "/first", "subject": "orders.1.get"},
        ]
    )
    file = load(tmp_path, service(several, endpoint("hidden", "orders.hidden", http_route="none")))
    assert [(route.name, *show(route)) for route in file.table.routes] == [
        ("orders-get", "GET", "/orders/{id}", "orders.{id}.get"),
        ("orders-get-2", "GET", "/first", "orders.1.get"),
    ]
    assert not file.remarks


NO_JSON = "is not JSON"
DEEP = '{"not":' * 65 + "{}" + "}" * 65


def double(steps: int, keyword: str = "allOf") -> dict[str, Any]:
    """A schema that looks at a value 2 ** steps times."""
    twice = {f"d{step}": {keyword: [{"$ref": f"#/$defs/d{step + 1}"}] * 2} for step in range(steps)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{steps}": {"type": "integer"}}}


TOO_EXPENSIVE = "too expensive to check"
MANY: dict[str, Any] = {f"p{number}": {} for number in range(10_000)}
PATTERNS = {f"p{number}": {"pattern": f"a{number}"} for number in range(101)}
WRONG: Sequence[tuple[Endpoint, str]] = (
    (endpoint(subject="$SYS.REQ"), "begins with $ or _"),
    (endpoint(subject="_INBOX.a"), "begins with $ or _"),
    (endpoint(subject="$JS.API.>"), "begins with $ or _"),
    (endpoint(subject=">"), "does not begin with a word"),
    (endpoint(subject="*.a"), "does not begin with a word"),
    (endpoint(subject="a.>.b"), "is not a subject"),
    (endpoint(subject="a..b"), "is not a subject"),
    (endpoint(subject="a.{x}"), "parameter"),
    (endpoint(subject="a b"), "neither a literal token nor a parameter"),
    (endpoint(http_pth="/x"), "http.pth: there is no such key, did you mean `http.path`?"),
    (endpoint(http_path="orders"), "must begin with '/'"),
    (endpoint(http_path="/orders/:id"), "':id' is the spelling of other routers"),
    (endpoint(http_path="/x/{a}/{id}"), "has 2 parameters, and its subject orders.*.get has 1 wildcard"),
    (endpoint(http_path="/x"), "has 0 parameters, and its subject orders.*.get has 1 wildcard"),
    (endpoint(http_path="/{id}"), "its first segment must be a literal"),
    (endpoint(http_path="/a/{id...}"), "a tail such as {path...} is for the wildcard '>'"),
    (endpoint(subject="a.>", http_path="/a/{id}"), "a tail such as {path...} is for the wildcard '>'"),
    (endpoint(http_path="/docs/{id}"), "docs"),
    (endpoint(http_path="/status/{id}"), "status"),
    (endpoint(http_path="/services/{id}"), "may be the gateway's own page"),
    (endpoint(http_path="/openapi.json", http_subject="orders.1.get"), "openapi.json"),
    (endpoint(http_path="/x y/{id}"), "has a blank or a tab"),
    (endpoint(http_path="/x/{id}", http_subject="payments.{id}.get"), "does not belong to the endpoint's subject"),
    (endpoint(http_path="/x/{id}", http_subject="orders.{id}"), "does not belong to the endpoint's subject"),
    (endpoint(http_path="/x/{id}", http_subject="orders.>"), "does not belong to the endpoint's subject"),
    (endpoint(http_path="/x/{id...}", http_subject="orders.{id...}"), "does not belong to the endpoint's subject"),
    (endpoint(http_path="/x/{id}", http_subject="orders.{other}.get"), "parameter 'id' would go nowhere"),
    (endpoint(http_method="FETCH"), "must be 'GET', 'POST'"),
    (endpoint(http_method=""), "must be 'GET', 'POST'"),
    (endpoint(http_status="302"), "http.status: must be a status from 200 to 299"),
    (endpoint(http_status="ok"), "http.status: must be a status from 200 to 299"),
    (endpoint(http_timeout="5"), "a duration is a number above 0 with its unit"),
    (endpoint(http_timeout="-1s"), "a duration is a number above 0 with its unit"),
    (endpoint(http_auth="partners"), "no scheme of this name"),
    (endpoint(http_auth="{"), NO_JSON),
    (endpoint(http_route="{"), NO_JSON),
    (endpoint(http_route="[" * 100_000), "nested too deeply"),
    (endpoint(http_route='{"timeout": NaN}'), NO_JSON),
    (endpoint(http_route=[]), "http.route: must be a JSON object"),
    (endpoint(http_routes={}), "http.routes: must be a JSON list of objects"),
    (endpoint(http_routes=[]), "http.routes: must be a JSON list of objects"),
    (endpoint(http_routes=[{}] * 101), "more than 100 routes"),
    (endpoint(http_route={}, http_routes=[{}]), "either http.route or http.routes"),
    (endpoint(http_route={"name": "x"}), "a service can't set the key 'name'"),
    (endpoint(http_route={"publish": "x"}), "a service can't set the key 'publish'"),
    (
        endpoint(http_route={"signature": {"header": "X", "secret_file": "/etc/passwd"}}),
        "can't set the key 'signature'",
    ),
    (endpoint(http_route={"allow_from": ["0.0.0.0/0"]}), "a service can't set the key 'allow_from'"),
    (endpoint(http_route={"rate_limit": "none"}), "a service can't set the key 'rate_limit'"),
    (endpoint(http_route={"tmeout": "2s"}), "did you mean"),
    (endpoint(http_route={"path": 7}), "the path must be a text"),
    (endpoint(http_route={"body_schema": "/etc/passwd"}), "not the name of a file"),
    (endpoint(http_route={"reply": {"statuses": {"201": {"schema": "x.json"}}}}), "not the name of a file"),
    (endpoint(http_route={"reply": {"status": 999}}), "a reply status is 200 to 599"),
    (endpoint(http_route={"params": {"id": {"type": "integr"}}}), "type"),
    (endpoint(request_schema="{"), NO_JSON),
    (endpoint(request_schema='"x.json"'), "must be a JSON Schema"),
    (endpoint(request_schema={"type": "objekt"}), "body_schema"),
    (endpoint(request_schema={"$ref": "/etc/passwd"}), "body_schema"),
    (endpoint(request_schema={"$ref": "#/schemas/nowhere"}), "body_schema"),
    (endpoint(response_schema={"pattern": "("}), "reply.schema"),
    # Schemas that take much time or memory.
    (endpoint(request_schema=double(20)), TOO_EXPENSIVE),
    (endpoint(request_schema=double(40)), TOO_EXPENSIVE),
    (endpoint(request_schema=double(40, "anyOf")), TOO_EXPENSIVE),
    (endpoint(response_schema=double(40, "oneOf")), TOO_EXPENSIVE),
    (endpoint(http_route={"body_schema": double(40)}), TOO_EXPENSIVE),
    (endpoint(http_route={"reply": {"statuses": {"202": {"schema": double(40)}}}}), TOO_EXPENSIVE),
    (endpoint(request_schema={"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}), TOO_EXPENSIVE),
    (endpoint(request_schema={"items": {"anyOf": [{"const": number} for number in range(1000)]}}), TOO_EXPENSIVE),
    (endpoint(request_schema={"properties": MANY}), "have 10010 values, and may have 4000"),
    (endpoint(http_route={"headers": [f"x-{number}" for number in range(9000)]}), "and may have 4000"),
    (endpoint(request_schema={"properties": PATTERNS}), "it has 101 patterns, and may have 100"),
    (endpoint(request_schema={"patternProperties": {f"a{n}": True for n in range(101)}}), "it has 101 patterns"),
    (
        endpoint(request_schema={"properties": {f"p{n}": {"pattern": f"^.{{1,255}}{n}$"} for n in range(15)}}),
        "its patterns take more than 4 MiB together",
    ),
    (endpoint(request_schema={"pattern": "(a?){1900}a{1900}"}), "takes more than 288 KiB"),
    (endpoint(request_schema={"patternProperties": {"(a?){1900}a{1900}": True}}), "takes more than 288 KiB"),
    (endpoint(request_schema={"pattern": "((a{0,99}){0,99}){0,99}"}), "linear time"),
    (endpoint(request_schema={"pattern": "(?=a)b"}), "linear time"),
    (endpoint(http_route={"params": {"token1": {"pattern": "(a?){1900}a{1900}"}}}), "takes more than 288 KiB"),
    (endpoint(request_schema=DEEP), "nested too deeply"),
    (endpoint(response_schema="[" * 1000 + "]" * 1000), "nested too deeply"),
    (endpoint(request_schema='{"minLength": 1' + "0" * 5000 + "}"), "an integer of more than 4,300 digits"),
    (endpoint(request_schema={"multipleOf": 0}), "multipleOf"),
    (endpoint(request_schema={"maxLength": -1}), "maxLength"),
    (endpoint(request_schema='{"type": "string", "type": "object"}'), "a key twice"),
    (endpoint(request_schema='{"title": "\\ud800"}'), "half of a surrogate pair"),
    (endpoint(request_schema={"$ref": "http://127.0.0.1:1/x"}), "a reference leads to a place in the same schema"),
    (endpoint(request_schema={"$ref": "file:///etc/passwd"}), "a reference leads to a place in the same schema"),
    (endpoint(request_schema={"$schema": "http://127.0.0.1:1/x"}), "Unknown meta-schema"),
    (endpoint(request_schema={"$dynamicRef": "http://127.0.0.1:1/x"}), "not a JSON Schema"),
    # Texts that change a terminal or a page, or fill it.
    (endpoint(http_path="x\x1b[31m"), r"'x\x1b[31m' must begin with '/'"),
    (endpoint(http_path="/x\n{a}\u202e"), r"/x\n{a}\u202e"),
    (endpoint(http_path="/" + "x" * 100_000 + "/{a}/{b}"), "its path /xxx"),
    (endpoint(**{f"http_{'x' * 100_000}": ""}), "http.xxx"),
    (endpoint(format="json"), "a content type is two words"),
    (endpoint(format="text/html\r\nx: y"), "a content type is two words"),
)


@pytest.mark.parametrize(("given", "text"), WRONG)
def test_what_is_wrong_is_said_and_left_out(given: Endpoint, text: str, tmp_path: Path) -> None:
    file = load(tmp_path, service(given, endpoint("right", "orders.right")))
    assert [route.name for route in file.table.routes] == ["orders-right"]
    (remark,) = file.remarks
    assert (remark.service, remark.endpoint) == ("orders", "get")
    assert text in remark.text
    assert remark.text.isprintable()
    assert len(remark.text) <= MAX_REMARK


ACCEPTED: Sequence[dict[str, Any]] = (
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "required": ["left"]},
    double(6),
    {"multipleOf": 1e-300},
    {"minLength": 10**400, "maximum": 10**4000},
    {"enum": [f"currency {number}" for number in range(300)]},
    {"properties": {f"p{number}": {"type": "string", "maxLength": 9, "title": "x"} for number in range(500)}},
    {"oneOf": [{"properties": {f"p{n}": {"type": "integer"} for n in range(30)}} for _ in range(20)]},
    {"pattern": "^(a+)+$"},
    {"pattern": "^.{1,255}$"},
    {"pattern": "(a|b)*a(a|b){1500}c"},
    {"pattern": r"(\w+ ?){700}c"},
    {"allOf": [{"pattern": f"(a|b)*a(a|b){{{number}}}c"} for number in range(300, 340)]},
    {"pattern": r"^[\w.+-]{1,64}@[\w.-]{1,255}\.[a-z]{2,}$", "format": "email"},
)


@pytest.mark.parametrize("schema", ACCEPTED)
def test_a_schema_that_is_only_large_or_strange_is_used_and_delays_nobody(
    schema: dict[str, Any], tmp_path: Path
) -> None:
    file = load(tmp_path, service(endpoint(request_schema=schema)))
    assert not file.remarks
    (route,) = file.table.routes
    for body in (
        b"0",
        b"{}",
        b'"%b"' % (b"a" * 16_000),
        b"[%b]" % b",".join([b"0"] * 8000),
        b'{"left":' * 60 + b"1" + b"}" * 60,
    ):
        began = time.process_time()
        with contextlib.suppress(InvalidBody):
            route.body_rules.check_body(body)
        assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("http_method", "http.method"),
        ("HTTP.Path", "http.path"),
        ("method", "http.method"),
        ("http-status", "http.status"),
    ],
)
def test_a_key_that_looks_like_one_about_http_is_named(key: str, meant: str, tmp_path: Path) -> None:
    loaded = load(tmp_path, service(Endpoint("get", "orders.*.get", metadata={key: "GET", "unit": "path"})))
    assert [route.name for route in loaded.table.routes] == ["orders-get"]
    assert [remark.text for remark in loaded.remarks] == [f"its metadata `{key}` is not used, did you mean `{meant}`?"]


def test_the_patterns_of_a_service_take_little_memory(tmp_path: Path) -> None:
    def make(number: int) -> Endpoint:
        patterns = {f"p{at}": {"pattern": f"^.{{1,255}}{number}-{at}$"} for at in range(9)}
        return endpoint(f"e{number}", f"e{number}", request_schema={"properties": patterns})

    file = load(tmp_path, service(*map(make, range(10))))
    assert [remark.endpoint for remark in file.remarks] == ["e6", "e7", "e8", "e9"]
    assert file.remarks[0].text == "with its patterns the service would have more than 16 MiB of them"


def test_routes_that_share_a_schema_share_its_patterns(tmp_path: Path) -> None:
    schema = {"properties": {f"p{at}": {"pattern": f"^.{{1,255}}{at}$"} for at in range(9)}}
    several = endpoint("e", "e", request_schema=schema, http_routes=[{"path": f"/{number}"} for number in range(50)])
    file = load(tmp_path, service(several))
    assert len(file.table.routes) == 50
    assert not file.remarks


def test_a_service_has_at_most_a_thousand_routes(tmp_path: Path) -> None:
    many = [
        endpoint(f"e{number}", f"e{number}", http_routes=[{"path": f"/{number}/{at}"} for at in range(100)])
        for number in range(20)
    ]
    file = load(tmp_path, service(*many))
    assert len(file.table.routes) == 1000
    assert [remark.endpoint for remark in file.remarks] == [f"e{number}" for number in range(10, 20)]
    assert {remark.text for remark in file.remarks} == {"with its routes the service would have more than 1000"}


MARKS = "a\x1b[31m\u202eb\u2066\x07<b>"


def test_texts_of_a_service_have_no_characters_that_change_a_page(tmp_path: Path) -> None:
    texts = {"title": MARKS, "description": MARKS}
    schema = {**texts, "properties": {"a": {**texts, "enum": [MARKS]}}}
    asked = {
        "summary": MARKS,
        "description": MARKS,
        "params": {"token1": {"description": MARKS}},
        "reply": {
            "schema": schema,
            "headers": ["X-A"],
            "statuses": {"202": {"description": MARKS, "headers": {"X-A": MARKS}}},
        },
    }
    document = prepare(load(tmp_path, service(endpoint(http_route=asked)))).openapi.decode()
    assert "a[31mb<b>" in document
    assert "a[31mb&lt;b>" in document
    assert {"\u202e", "\u2066"} & set(document.replace(json.dumps([MARKS], ensure_ascii=False), "")) == set()
    assert document.count("\\u001b") == 1  # in the value that is data


def test_only_named_services_have_routes(tmp_path: Path) -> None:
    stranger = service(endpoint(), name="stranger")
    assert [*load(tmp_path, stranger, discover="orders").table.routes] == []


def test_no_route_of_the_file_yields(tmp_path: Path) -> None:
    more = "routes: [{name: mine, method: POST, path: '/orders/get/{id}', subject: 'mine.{id}'}]\n"
    file = load(tmp_path, service(endpoint(), endpoint("list", "orders.list")), more=more)
    assert [route.name for route in file.table.routes] == ["mine", "orders-list"]
    assert "mine" in file.remarks[0].text


def test_of_two_services_the_first_keeps_a_path(tmp_path: Path) -> None:
    first, second = (service(endpoint(http_path="/x/{id}"), name=name) for name in ("pets", "orders"))
    file = load(tmp_path, first, second)
    assert [route.name for route in file.table.routes] == ["pets-get"]
    assert [remark.service for remark in file.remarks] == ["orders"]
    assert "pets-get" in file.remarks[0].text


def test_the_file_chooses_prefix_subjects_and_defaults(tmp_path: Path) -> None:
    file = load(
        tmp_path,
        service(endpoint(), endpoint("pay", "payments.pay"), endpoint("list", "orders.list")),
        discover="{services: orders, prefix: /v1, subjects: 'orders.*.get'}",
        more="prefix: /api\ndefaults: {timeout: 7s}\n",
    )
    (route,) = file.table.routes
    assert (route.path, route.timeout) == ("/api/v1/orders/get/{token1}", 7.0)
    assert [remark.endpoint for remark in file.remarks] == ["pay", "list"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, {"users"}),
        ("users", None),
        ({"scopes": ["write"]}, {"users"}),
        ({"any": ["users"], "scopes": ["read", "write"]}, {"users"}),
        ("none", None),
        ("others", None),
        ({"any": ["users", "others"], "scopes": ["read"]}, None),
        ({"any": ["users"], "scopes": []}, None),
        ({"any": ["users"], "scopes": ["read"], "x": 1}, None),
    ],
)
@pytest.mark.parametrize("place", ["discover", "defaults"])
def test_no_route_has_less_auth_than_the_file_says(asked: Any, expected: Any, place: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 32)
    schemes = (
        "auth: {users: {type: jwt, issuer: i, audience: a, secret_file: a},"
        " others: {type: jwt, issuer: j, audience: a, secret_file: b, header: X-Other}}\n"
    )
    floor = "auth: {any: [users], scopes: [read]}"
    discover = f"{{services: orders, {floor}}}" if place == "discover" else "orders"
    more = schemes + (f"defaults: {{{floor}}}\n" if place == "defaults" else "")
    given = endpoint() if asked is None else endpoint(http_auth=asked)
    file = load(tmp_path, service(given), discover=discover, more=more)
    if expected is None:
        assert list(file.table.routes) == []
        assert len(file.remarks) == 1
    else:
        assert len(file.table.routes) == 1


PROTECTED = (
    "auth: {users: {type: jwt, issuer: i, audience: a, secret_file: a, header: X-Token},"
    " keys: {type: api-key, query: key, file: keys.yaml}}\ndefaults: {auth: users}\n"
    "routes: [{name: mine, method: GET, path: /mine, subject: mine, identity: {X-User: sub}}]\n"
)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"headers": ["Authorization"]}, "Authorization has credentials of callers"),
        ({"headers": ["X-A", {"name": "cookie", "as": "X-B"}]}, "cookie has credentials of callers"),
        ({"headers": ["x-token"]}, "x-token has credentials of callers"),
        ({"params": {"X-Token": {"in": "header"}}, "payload": "merge"}, "X-Token has credentials of callers"),
        ({"params": {"key": {"in": "query"}}, "payload": "merge"}, "key has credentials of callers"),
        ({"send_headers": {"x-user": "admin"}}, "x-user says who calls"),
        ({"headers": ["X-User"]}, "`identity`"),
        ({"params": {"who": {"in": "query", "header": "X-User"}}}, "`identity`"),
        ({"headers": [{"name": "X-Me", "as": "X-User"}]}, "`identity`"),
        ({"reply": {"set_headers": {"Access-Control-Allow-Origin": "*"}}}, "is about more than this response"),
        ({"reply": {"headers": ["access-control-allow-credentials"]}}, "is about more than this response"),
        ({"reply": {"headers": ["Set-Cookie"]}}, "is about more than this response"),
        ({"reply": {"set_headers": {"Clear-Site-Data": "*"}}}, "is about more than this response"),
    ],
)
def test_no_service_gets_credentials_or_says_who_calls(asked: dict[str, Any], text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 32)
    (tmp_path / "keys.yaml").write_text("version: 1\nkeys: []\n")
    file = load(tmp_path, service(endpoint(http_route=asked), endpoint("list", "orders.list")), more=PROTECTED)
    assert [route.name for route in file.table.routes] == ["mine", "orders-list"]
    (remark,) = file.remarks
    assert text in remark.text


@pytest.mark.parametrize(
    ("discover", "defaults", "expected"),
    [
        ("orders", "", "main"),
        ("{services: orders, nats: factory}", "", "factory"),
        ("orders", "defaults: {nats: factory}\n", "factory"),
        ("{services: orders, nats: main}", "defaults: {nats: factory}\n", "main"),
    ],
)
def test_routes_go_to_the_cluster_whose_services_are_watched(
    discover: str, defaults: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_NATS", "factory")
    file = load(tmp_path, service(endpoint()), discover=discover, more=defaults)
    assert [route.nats for route in file.table.routes] == [expected]
    head = read_head(pack(file))
    assert head.discover is not None
    assert head.discover[2] == expected
    assert [route.nats for route in run_at_once(unpack(pack(file))).table.routes] == [expected]


@pytest.mark.parametrize(
    ("discover", "defaults", "place"),
    [
        ("{services: orders, nats: factroy}", "", "discover.nats"),
        ("orders", "defaults: {nats: factroy}\n", "defaults.nats"),
    ],
)
def test_an_unknown_cluster_of_services_is_told(
    discover: str, defaults: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_NATS", "factory")
    with pytest.raises(RouteFileError) as caught:
        load(tmp_path, discover=discover, more=defaults)
    (fault,) = caught.value.faults
    assert fault.endswith(f'{place}: "factroy": GATEWAY_NATS does not have this name, did you mean `factory`?')


def test_services_are_tags_and_their_schemas_are_components(tmp_path: Path) -> None:
    described = service(
        endpoint(request_schema={"type": "object"}, response_schema={"type": "array"}), description="All orders."
    )
    document = json.loads(prepare(load(tmp_path, described)).openapi)
    assert document["tags"] == [{"name": "orders", "description": "All orders. (version 1.2.0)"}]
    assert {"orders.get.request", "orders.get.response"} <= set(document["components"]["schemas"])
    (operation,) = (operation for path in document["paths"].values() for operation in path.values())
    assert operation["tags"] == ["orders"]


def test_the_version_of_the_api_can_be_that_of_a_service(tmp_path: Path) -> None:
    more = "info: {version: '7', version_of: orders}\n"
    assert load(tmp_path, service(endpoint()), more=more).info.version == "1.2.0"
    assert load(tmp_path, more=more).info.version == "7"
