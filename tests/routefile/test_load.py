"""The route file: each key does what docs/routes.md says, and each mistake is told with its place."""

import json
import random
import re
import tempfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from app.formats.fields import REPLY_HEADERS, REQUEST_HEADERS
from app.routefile.about import ContactModel, InfoModel, LicenseModel, ServerModel, TagModel
from app.routefile.auth import ApiKeyModel, AuthRulesModel
from app.routefile.bearer import JwtModel
from app.routefile.cors import CorsModel
from app.routefile.editor_schema import build_schema
from app.routefile.files import MAX_FILE
from app.routefile.load import EXAMPLES, GREET, RESERVED, RouteFileError, load_route_file
from app.routefile.model import (
    DefaultsModel,
    FileModel,
    RouteModel,
)
from app.routefile.parameters import ParameterModel
from app.routefile.rate_limits import LimitModel
from app.routefile.replies import ReplyModel, StatusModel
from app.routefile.yamlparser import parse_yaml
from app.routing.routes import StatusRules
from tests.routefile.files import LEAST, load, load_route, read_faults

DOCS = Path(__file__).parents[2] / "docs"


# Each key


def test_the_least_that_a_file_needs(file: Path) -> None:
    read = load(file, LEAST)
    (route,) = read.table.routes
    assert (route.name, route.methods, route.path, route.subject) == ("a", ("GET",), "/a", "a")
    assert (route.headers, route.reply.headers) == (REQUEST_HEADERS, REPLY_HEADERS)
    assert (read.info.title, read.info.version, read.info.description) == ("NATS HTTP gateway", "", "")


def test_info_names_the_api(file: Path) -> None:
    read = load(file, LEAST + "info: {title: Orders, version: '2.1', description: All of them.}")
    assert (read.info.title, read.info.version, read.info.description) == ("Orders", "2.1", "All of them.")


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("summary: Short", "summary", "Short"),
        ("description: Long", "description", "Long"),
        ("tags: [x, y]", "tags", ("x", "y")),
        ("deprecated: true", "deprecated", True),
        ("payload: none", "payload", "none"),
        ("payload: body", "payload", "body"),
        ("payload: params", "payload", "params"),
        ("payload: merge", "payload", "merge"),
        ("accepts: [image/*, text/csv]", "accepts", ("image/*", "text/csv")),
        ("max_body: 64KiB", "max_body", 65536),
        ("max_body: 10", "max_body", 10),
        ("max_body: '10'", "max_body", 10),
        ("body_schema: {type: object}", "body_schema", {"type": "object"}),
        ("body_schema: true", "body_schema", True),
        ("headers: [If-Match, cookie]", "headers", ("If-Match", "cookie")),
        ("headers: []", "headers", ()),
        ("headers: [a, {name: b, as: c}, {name: d, as: d}]", "headers", ("a", "b", "d")),
        ("headers: [a, {name: b, as: c}, {name: d, as: d}]", "renamed", (("b", "c"),)),
        ("timeout: 500ms", "timeout", 0.5),
        ("max_timeout: 1m", "max_timeout", 60.0),
        ("max_in_flight: 7", "max_in_flight", 7),
        ("query: strict", "query", "strict"),
        ("send_headers: {X-Source: web, x-b: ''}", "send_headers", (("X-Source", "web"), ("x-b", ""))),
    ],
)
def test_a_key_of_a_route_does_what_it_says(file: Path, keys: str, field: str, value: object) -> None:
    assert getattr(load_route(file, keys), field) == value


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("content_type: text/csv; charset=utf-8", "content_type", "text/csv; charset=utf-8"),
        ("wrap: message", "wrap", "message"),
        ("status: 201", "status", 201),
        ("headers: [Set-Cookie]", "headers", ("Set-Cookie",)),
        ("headers: []", "headers", ()),
        ("max_bytes: 1MiB", "max_bytes", 1048576),
        ("schema: {type: array}", "schema", {"type": "array"}),
        ("errors: {17: 409, 404: 410, E_CUSTOMS: 423}", "errors", {17: 409, 404: 410, "E_CUSTOMS": 423}),
        ("expose_errors: true", "expose_errors", True),
        ("set_headers: {Cache-Control: no-cache}", "set_headers", (("Cache-Control", "no-cache"),)),
        ("example: {a: [1]}", "example", {"a": [1]}),
        (
            "statuses: {202: {description: Later., schema: {type: array}, headers: {Location: Where.}}, 204: {}}",
            "statuses",
            {
                202: StatusRules(description="Later.", schema={"type": "array"}, headers=(("Location", "Where."),)),
                204: StatusRules(),
            },
        ),
        ("{schema: {}, validate: true}", "validate", True),
    ],
)
def test_a_key_of_a_reply_does_what_it_says(file: Path, keys: str, field: str, value: object) -> None:
    assert getattr(load_route(file, f"reply:\n  {keys}").reply, field) == value


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("in: query", "location", "query"),
        ("in: header", "location", "header"),
        ("type: integer", "type", "integer"),
        ("many: true", "many", True),
        ('{many: true, separator: ","}', "separator", ","),
        ("format: uuid", "format", "uuid"),
        ("header: X-Id", "header", "X-Id"),
        ("pattern: '[a-z]+'", "pattern", "[a-z]+"),
        ("enum: [b, a]", "enum", ("b", "a")),
        ("{type: number, min: 1.5}", "minimum", 1.5),
        ("{type: number, max: 2}", "maximum", 2),
        ("min_length: 1", "min_length", 1),
        ("max_length: 2", "max_length", 2),
        ("required: true", "required", True),
        ("default: x", "default", "x"),
        ("{many: true, default: [x, y]}", "default", ["x", "y"]),
        ("description: What", "description", "What"),
        ("example: x", "example", "x"),
        ("{}", "location", "query"),
    ],
)
def test_a_key_of_a_parameter_does_what_it_says(file: Path, keys: str, field: str, value: object) -> None:
    rules = keys if keys.startswith("{") else f"{{{keys}}}"
    route = load_route(file, f"payload: params\nparams: {{q: {rules}}}")
    (parameter,) = [parameter for parameter in route.parameters if parameter.name == "q"]
    assert getattr(parameter, field) == value


def test_a_parameter_that_is_in_the_path_is_there_unless_it_says_otherwise(file: Path) -> None:
    route = load_route(file, "params: {id: {type: integer}}")
    assert [(p.name, p.location, p.type) for p in route.parameters] == [("id", "path", "integer")]


def test_methods_are_one_or_a_list(file: Path) -> None:
    assert load_route(file, "", method="DELETE").methods == ("DELETE",)
    assert load_route(file, "", method="[GET, PUT]").methods == ("GET", "PUT")


def test_schemas_may_stand_in_files_beside_the_route_file(file: Path) -> None:
    (file.parent / "schemas").mkdir()
    (file.parent / "schemas" / "body.json").write_text('{"type": "object"}')
    (file.parent / "reply.yaml").write_text("type: array\n")
    route = load_route(file, "body_schema: schemas/body.json\nreply: {schema: reply.yaml}")
    assert (route.body_schema, route.reply.schema) == ({"type": "object"}, {"type": "array"})
    assert route.accepts == ("application/json",)


# defaults


DEFAULTS = """\
defaults:
  timeout: 1s
  max_body: 10
  accepts: [text/csv]
  headers: [x-a]
  tags: [all]
  params:
    id: {in: path, type: integer}
    tenant: {in: header, required: true}
  reply: {status: 202, headers: [x-b], errors: {1: 401, 2: 402}}
"""


def test_a_route_has_what_it_does_not_say_from_the_defaults(file: Path) -> None:
    route = load_route(file, "payload: body\nheaders: [x-a, tenant]", head=DEFAULTS)
    assert (route.timeout, route.max_body, route.accepts, route.tags) == (1.0, 10, ("text/csv",), ("all",))
    assert {p.name: (p.location, p.type) for p in route.parameters} == {
        "id": ("path", "integer"),
        "tenant": ("header", "string"),
    }
    assert (route.reply.status, route.reply.headers, route.reply.errors) == (202, ("x-b",), {1: 401, 2: 402})


def test_what_a_route_says_goes_before_the_defaults_or_is_joined_with_them(file: Path) -> None:
    keys = "timeout: 2s\nheaders: [tenant]\ntags: []\nparams: {id: {type: number}}\nreply: {errors: {2: 409, 3: 403}}"
    route = load_route(file, keys, head=DEFAULTS)
    assert (route.timeout, route.headers, route.tags) == (2.0, ("tenant",), ())
    assert {p.name: p.type for p in route.parameters} == {"id": "number", "tenant": "string"}
    assert (route.reply.status, route.reply.errors) == (202, {1: 401, 2: 409, 3: 403})


def test_a_route_without_a_body_or_a_parameter_takes_nothing_of_them_from_the_defaults(file: Path) -> None:
    route = load_route(file, "headers: [tenant]", head=DEFAULTS, method="GET", path="/b")
    assert (route.max_body, route.accepts) == (None, ())
    assert [parameter.name for parameter in route.parameters] == ["tenant"]


def test_what_is_wrong_in_defaults_is_told_once_and_there(file: Path) -> None:
    text = "version: 1\ndefaults: {timeout: 5, reply: {status: 99}}\nroutes:\n" + "".join(
        f"  - {{name: r{n}, method: GET, path: /r{n}, subject: a}}\n" for n in range(3)
    )
    assert read_faults(file, text) == [
        "2:21: defaults.timeout: 5: a duration is a number above 0 with its unit: 500ms, 2s or 1m",
        "2:40: routes[0].reply.status: 99: a reply status is 200 to 599 (and in 2 more routes)",
    ]


# What is wrong


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["1:1: the file: must be a mapping"]),
        ("[]", ["1:1: the file: must be a mapping"]),
        ("version: 1", ["1:1: routes: is missing"]),
        ("routes: []", ["1:1: version: is missing", "1:9: routes: must not be empty"]),
        (LEAST.replace("1\n", "2\n", 1), ["1:10: version: 2: must be 1"]),
        (LEAST.replace("1\n", "'1'\n", 1), ['1:10: version: "1": must be 1']),
        (LEAST + "rotues: []", ["4:1: rotues: unknown key, did you mean `routes`?"]),
        (LEAST + "info: {titel: x}", ["4:8: info.titel: unknown key, did you mean `title`?"]),
        (LEAST + "info: {title: ''}", ['4:15: info.title: "": must not be empty']),
        (LEAST + "info: 5", ["4:7: info: 5: must be a mapping"]),
        (LEAST + "defaults: []", ["4:11: defaults: must be a mapping"]),
        (LEAST + "defaults: {name: x}", ["4:12: defaults.name: unknown key; `name` is a key of a route"]),
        (LEAST + "  - 5", ["4:5: routes[1]: 5: must be a mapping"]),
        (LEAST + "version: 1", ["4:1: version: the key 'version' appears twice, first in line 1"]),
        (
            LEAST + "  - {name: a, method: GET, path: /b, subject: b}",
            ["4:12: routes[1].name: \"a\": two routes have the name 'a'"],
        ),
        (
            LEAST + "  - {name: b, method: GET, path: /a, subject: b}",
            ["4:34: routes[1].path: \"/a\": routes 'a' and 'b' both match GET /a"],
        ),
        (LEAST.replace("/a", "/docs"), ["3:34: routes[0].path: \"/docs\": route 'a': the gateway itself uses /docs"]),
        (LEAST.replace("GET", "get"), ["3:23: routes[0].method: \"get\": must be 'GET', 'POST', "]),
        (LEAST.replace("GET", "[]"), ["3:23: routes[0].method: methods must be from GET, POST, PUT, PATCH, DELETE; "]),
        (LEAST.replace("ct: a", "ct: _a"), ["3:47: routes[0].subject: \"_a\": subject '_a' must begin with a literal"]),
        (LEAST.replace("ct: a", "ct: 5"), ["3:47: routes[0].subject: 5: must be a text; put it into quotes"]),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else "",
)
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(file: Path, text: str, faults: list[str]) -> None:
    found = read_faults(file, text)
    assert len(found) == len(faults)
    assert all(fault.startswith(start) for fault, start in zip(found, faults, strict=True)), found


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("timeuot: 2s", "7:5: routes[0].timeuot: unknown key, did you mean `timeout`?"),
        ("timeout: 2", "7:14: routes[0].timeout: 2: a duration is a number above 0 with its unit: 500ms, 2s or 1m"),
        ("timeout: 0s", '7:14: routes[0].timeout: "0s": a duration is a number above 0'),
        ("max_body: 1MB", '7:15: routes[0].max_body: "1MB": a size is a whole number of bytes, or one with KiB or MiB'),
        ("max_body: -1", "7:15: routes[0].max_body: -1: a size is"),
        ("max_in_flight: 0", "7:20: routes[0].max_in_flight: 0: "),
        ("allow_from:", "7:16: routes[0].allow_from: must be a list"),
        ("allow_from: []", "7:17: routes[0].allow_from: must not be empty"),
        ("allow_from: 10.0.0.0/99", '7:17: routes[0].allow_from: "10.0.0.0/99": must be an IP address or a network'),
        ("allow_from: ['::1', a]", '7:25: routes[0].allow_from[1]: "a": must be an IP address or a network such as'),
        ("allow_from: [10.1.2.3/8]", '7:18: routes[0].allow_from[0]: "10.1.2.3/8": the address has bits beyond the '),
        ("content_length: needed", "7:21: routes[0].content_length: \"needed\": must be 'optional' or 'required'"),
        ("max_body: true", "7:15: routes[0].max_body: true: a size is"),
        ("deprecated: yes", '7:17: routes[0].deprecated: "yes": must be true or false'),
        ("tags: greet", '7:11: routes[0].tags: "greet": must be a list'),
        ("tags: [1]", "7:12: routes[0].tags[0]: 1: must be a text"),
        ("summary: no", None),
        ("summary: 1", "7:14: routes[0].summary: 1: must be a text"),
        (
            "payload: bdy",
            "7:14: routes[0].payload: \"bdy\": must be 'none', 'body', 'params' or 'merge', did you mean `body`?",
        ),
        ("params: {id: {typ: integer}}", "7:19: routes[0].params.id.typ: unknown key, did you mean `type`?"),
        ("params: {id: {type: int}}", '7:25: routes[0].params.id.type: "int": must be \'string\', \'integer\''),
        ("params: {id: {min: a}}", '7:24: routes[0].params.id.min: "a": must be a number'),
        ("params: {id: {pattern: '(?=a)'}}", "7:28: routes[0].params.id.pattern: \"(?=a)\": not a regular expression"),
        ("params: {id: {enum: [[1]]}}", "7:26: routes[0].params.id.enum[0]: must be a text, a number, true or false"),
        ("params: [id]", "7:13: routes[0].params: must be a mapping"),
        ("params: {q: {}}", "7:17: routes[0].params.q: parameter 'q' would go nowhere"),
        ("body_schema: {type: objct}", '7:25: routes[0].body_schema.type: "objct": is not a type of JSON'),
        ("body_schema: nope.json", '7:18: routes[0].body_schema: "nope.json": nope.json: no such file or directory'),
        ("body_schema: 5", "7:18: routes[0].body_schema: 5: must be a JSON Schema, or the path of a file"),
        (
            "payload: merge\n    body_schema: {required: [id]}",
            "8:18: routes[0].body_schema: it requires 'id', which is a parameter, and can't be in a body as well",
        ),
        ("headers: [1]", "7:15: routes[0].headers[0]: 1: must be the name of a header, or a mapping of"),
        ("headers: [{name: x-a}]", "7:15: routes[0].headers[0].as: is missing"),
        ("headers: [{name: x-a, AS: b}]", "7:27: routes[0].headers[0].AS: unknown key, did you mean `as`?"),
        ("headers: [{name: x-a, as: host}]", "7:31: routes[0].headers[0].as: \"host\": header 'host' can't be sent"),
        ("headers: [{name: x-a, as: b}, B]", "7:35: routes[0].headers[1]: \"B\": another header is also sent as 'B'"),
        ("headers: [x-a, {name: X-A, as: b}]", "7:20: routes[0].headers[1]: header 'X-A' is listed twice"),
        ("headers: [{name: x-a, as: b}]\n    send_headers: {B: c}", "8:23: routes[0].send_headers.B: \"c\": `headers`"),
        ("reply: {statuses: {2xx: {}}}", "7:29: routes[0].reply.statuses.2xx: \"2xx\": a status is a number of three"),
        ("reply: {statuses: {600: {}}}", "7:29: routes[0].reply.statuses.600: a reply status is 200 to 599"),
        ("reply: {statuses: {200: {}}}", "7:29: routes[0].reply.statuses.200: it is the `status` of the reply, which"),
        ("reply: {statuses: {202: {hint: a}}}", "7:30: routes[0].reply.statuses.202.hint: unknown key; known are"),
        (
            "reply: {statuses: {202: {headers: {x-a: Why.}}}}",
            "7:45: routes[0].reply.statuses.202.headers.x-a: \"Why.\": `reply.headers` does not list it, so it",
        ),
        ("reply: {validate: true}", "7:23: routes[0].reply.validate: true: there is no `schema` to check replies by"),
        (
            "reply: {validate: true, schema: {}, wrap: message}",
            "7:23: routes[0].reply.validate: true: with `wrap` the reply is a text, which no schema describes",
        ),
        ("headers: [host]", "7:15: routes[0].headers[0]: \"host\": header 'host' can't be forwarded"),
        ("accepts: [json]", '7:15: routes[0].accepts[0]: "json": a media type is two words'),
        ("reply: {status: 700}", "7:21: routes[0].reply.status: 700: a reply status is 200 to 599"),
        ("reply: {staus: 1}", "7:13: routes[0].reply.staus: unknown key, did you mean `status`?"),
        ("reply: {errors: {1 x: 409}}", '7:27: routes[0].reply.errors.1 x: "1 x": a service error code is'),
        ("reply: {errors: {9999999999: 409}}", '7:34: routes[0].reply.errors.9999999999: "9999999999": a service'),
        ("reply: {schema_: {}}", "7:13: routes[0].reply.schema_: unknown key, did you mean `schema`?"),
        ("params: {id: {minimum: 1}}", "7:19: routes[0].params.id.minimum: unknown key, did you mean `min`?"),
        ("params: {id: {maximum: 1}}", "7:19: routes[0].params.id.maximum: unknown key, did you mean `max`?"),
        ("params: {id: {location: path}}", "7:19: routes[0].params.id.location: unknown key, did you mean `in`?"),
        ("params: {id: {maxLength: 1}}", "7:19: routes[0].params.id.maxLength: unknown key, did you mean `max_len"),
        ("x-more: 1", "7:5: routes[0].x-more: unknown key"),
        ("send_headers: {host: x}", "7:26: routes[0].send_headers.host: \"x\": header 'host' can't be sent"),
        ("send_headers: {Nats-Msg-Id: x}", "7:33: routes[0].send_headers.Nats-Msg-Id: \"x\": header 'Nats-"),
        ("send_headers: {x: é}", "7:23: routes[0].send_headers.x: \"é\": a value must have only printable ASCII"),
        ("send_headers: {x: 1}", "7:23: routes[0].send_headers.x: 1: must be a text; put it into quotes"),
        ("send_headers: {Traceparent: x}", "7:33: routes[0].send_headers.Traceparent: \"x\": `headers` lists it"),
        ("send_headers: {x-a: y, X-A: z}", "7:25: routes[0].send_headers.x-a: \"y\": this header is listed twice"),
        ("reply: {set_headers: {date: x}}", "7:33: routes[0].reply.set_headers.date: \"x\": it is the gateway's own"),
        ("reply: {set_headers: {Content-Type: x}}", "7:41: routes[0].reply.set_headers.Content-Type: \"x\": `con"),
        ("reply: {set_headers: {Vary: x}}", "7:33: routes[0].reply.set_headers.Vary: \"x\": the gateway writes it"),
        ("params: {q: {header: host}}", "7:26: routes[0].params.q.header: \"host\": header 'host' can't be sent"),
        ("params: {q: {header: Tracestate}}", "7:26: routes[0].params.q.header: \"Tracestate\": `headers`, `send_"),
        ("params: {q: {header: x}, r: {header: X}}", "7:42: routes[0].params.r.header: \"X\": `headers`, `send"),
        ("query: strickt", "7:12: routes[0].query: \"strickt\": must be 'ignore' or 'strict', did you mean `strict`?"),
        ("params: {id: {separator: ','}}", "7:30: routes[0].params.id.separator: \",\": only a parameter with `many`"),
        ("params: {id: {type: integer, format: uuid}}", "7:42: routes[0].params.id.format: \"uuid\": only a parameter"),
        ("params: {id: {format: uid}}", "7:27: routes[0].params.id.format: \"uid\": must be 'uuid', 'date', 'date-"),
        ("params: {id: {format: date, example: x}}", "7:42: routes[0].params.id.example: \"x\": it breaks the rules"),
        ("reply: {errors: {1: 99}}", "7:25: routes[0].reply.errors.1: 99: an error's status is 400 to 599"),
        ("reply: {wrap: msg}", "7:19: routes[0].reply.wrap: \"msg\": must be 'message', did you mean `message`?"),
        ("reply: {schema: {type: 5}}", "7:28: routes[0].reply.schema.type: 5: is not a type of JSON Schema; known are"),
        ("reply: null", "7:12: routes[0].reply: must be a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_route_is_told_with_its_place(file: Path, keys: str, fault: str | None) -> None:
    text = (
        f"version: 1\nroutes:\n  - name: a\n    method: POST\n    path: /a/{{id}}\n    subject: a.{{id}}\n    {keys}\n"
    )
    if fault is None:
        assert load(file, text).table.routes[0].summary == "no"  # a text in YAML 1.2
    else:
        assert read_faults(file, text)[0].startswith(fault)


def test_keys_at_the_top_that_begin_with_x_are_left_alone(file: Path) -> None:
    text = LEAST.replace("routes:", "x-id: &id {type: integer, mni: 1}\nx-: 5\nroutes:")
    assert load(file, text).table.routes[0].name == "a"
    jsonschema_rs.validate(build_schema(), parse_yaml(text.encode()).data)
    (fault,) = read_faults(file, text.replace("subject: a", "subject: a, params: {q: *id}"))
    assert "mni: unknown key, did you mean `min`?" in fault


def test_all_mistakes_are_told_at_once_in_the_order_of_their_places(file: Path) -> None:
    text = """\
version: 1
info: {titel: x}
defaults: {timeot: 1s}
routes:
  - {name: a, method: GET, path: /a, subject: $SYS.a, timeout: 1}
  - name: b
    method: GET
    path: /b/{x}
    subject: b.{y}
    reply: {status: 1, headers: [date]}
    reply: {status: 2}
  - {name: b, path: /livez, method: GET, subject: b}
"""
    places = [fault.split(": ")[:2] for fault in read_faults(file, text)]
    assert places == [
        ["2:8", "info.titel"],
        ["3:12", "defaults.timeot"],
        ["5:47", "routes[0].subject"],
        ["5:64", "routes[0].timeout"],
        ["8:11", "routes[1].path"],
        ["9:14", "routes[1].subject"],
        ["11:5", "routes[1].reply"],
        ["11:21", "routes[1].reply.status"],
        ["12:21", "routes[2].path"],
    ]


def test_a_json_file_is_read_as_json(file: Path) -> None:
    (file.parent / "body.json").write_text('{"title": "\\ud83d\\ude00 \\/",\n\t"type": "object"}')
    assert load_route(file, "body_schema: body.json").body_schema == {"title": "😀 /", "type": "object"}
    (file.parent / "body.json").write_text('{"type": "object",\n "type": "array"}')
    assert (
        "body.json: it has a key twice in one object"
        in read_faults(file, WITH_FILE.replace("schema.yaml", "body.json"))[0]
    )


WITH_FILE = LEAST.replace("GET", "POST").replace("subject: a", "subject: a, body_schema: schema.yaml")


def test_a_schema_file_names_its_own_place(file: Path) -> None:
    (file.parent / "schema.yaml").write_text("type: object\ntype: array\n")
    (fault,) = read_faults(file, WITH_FILE)
    assert fault.startswith("3:64: routes[0].body_schema: ")
    assert "schema.yaml:2:1: the key 'type' appears twice, first in line 1" in fault


@pytest.mark.parametrize(("name", "reason"), [("nothing.yaml", "no such file or directory"), (".", "is a directory")])
def test_a_file_that_can_t_be_read_is_one_problem(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(RouteFileError, match=f"{reason}$"):
        load_route_file(tmp_path / name)


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(RouteFileError, match=f"^/dev/zero: it has more than {MAX_FILE} bytes$"):
        load_route_file(Path("/dev/zero"))


@pytest.mark.parametrize("segment", RESERVED)
def test_a_path_of_the_gateway_itself_is_refused(file: Path, segment: str) -> None:
    for path in (f"/{segment}", f"/{segment}/more"):
        (fault,) = read_faults(file, LEAST.replace("/a", path))
        assert fault.endswith(f"route 'a': the gateway itself uses /{segment}")


JUNK = ["", "{", "}", "[", ": ", "- ", "&x", "*x", "!t ", "'", "\t", "5", "null", "é", "\x07", "<<: "]


@given(st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_a_file_with_anything_in_it_is_taken_or_refused_and_never_breaks(chance: random.Random) -> None:
    lines = EXAMPLES.read_text(encoding="utf-8").splitlines()
    for _ in range(chance.randint(1, 4)):
        number = chance.randrange(len(lines))
        cut = chance.randrange(len(lines[number]) + 1)
        head, tail = lines[number][:cut], lines[number][cut:]
        junk = chance.choice(JUNK)
        lines[number] = chance.choice([head + junk + tail, head + junk, junk, lines[chance.randrange(len(lines))]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "routes.yaml"
        path.write_text("\n".join(lines), encoding="utf-8")
        faults = list_faults(path)
    assert all(re.match(rf"{re.escape(str(path))}:\d+:\d+: ", fault) for fault in faults)


def list_faults(path: Path) -> tuple[str, ...]:
    try:
        load_route_file(path)
    except RouteFileError as error:
        return error.faults
    return ()


# The document of a file, and what describes the format


@pytest.mark.soak
def test_ten_thousand_routes_are_read(file: Path) -> None:
    line = "  - {{name: r{0}, method: GET, path: '/r{0}/{{id}}', subject: 'r{0}.{{id}}'}}\n"
    read = load(file, "version: 1\nroutes:\n" + "".join(line.format(number) for number in range(10_000)))
    assert len(read.table.routes) == 10_000


def test_the_schema_for_editors_is_current_and_takes_the_packaged_files() -> None:
    schema = build_schema()
    assert json.loads((DOCS / "routes.schema.json").read_text(encoding="utf-8")) == schema
    for path in (GREET, EXAMPLES):
        jsonschema_rs.validate(schema, parse_yaml(path.read_bytes()).data)


@pytest.mark.parametrize("wrong", [{"version": 2}, {"routes": []}, {"rotues": []}, {"routes": [{"name": "a"}]}])
def test_the_schema_for_editors_refuses_what_the_gateway_refuses(wrong: dict[str, Any]) -> None:
    right = {"version": 1, "routes": [{"name": "a", "method": "GET", "path": "/a", "subject": "a"}]}
    assert jsonschema_rs.is_valid(build_schema(), right)
    assert not jsonschema_rs.is_valid(build_schema(), {**right, **wrong})


def list_keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("key", list_keys(FileModel)),
        ("key of `info`", list_keys(InfoModel)),
        ("key of `contact`", list_keys(ContactModel)),
        ("key of `license`", list_keys(LicenseModel)),
        ("key of a server", list_keys(ServerModel)),
        ("key of a tag", list_keys(TagModel)),
        ("key of an API key scheme", list_keys(ApiKeyModel)),
        ("key of a JWT scheme", list_keys(JwtModel)),
        ("key of `auth`", list_keys(AuthRulesModel)),
        ("key of a parameter", list_keys(ParameterModel)),
        ("key of `reply`", list_keys(ReplyModel)),
        ("key of a status", list_keys(StatusModel)),
        ("key of `cors`", list_keys(CorsModel)),
        ("key of a limit", list_keys(LimitModel)),
    ],
)
def test_the_reference_has_every_key_and_no_other(title: str, keys: list[str]) -> None:
    tables = read_tables(title)
    if title == "key":
        file_keys, route_keys = tables
        assert sorted(route_keys) == sorted(list_keys(RouteModel))
        assert set(route_keys) - set(list_keys(DefaultsModel)) == {
            "name",
            "method",
            "path",
            "subject",
            "publish",
            "subscribe",
            "event_header",
            "encoding",
            "max_duration",
            "max_streams",
            "start",
            "replies",
            "stream",
        }
        assert sorted(file_keys) == sorted(keys)
    else:
        assert tables == [keys]


def read_tables(title: str) -> list[list[str]]:
    """The first columns of the tables of docs/routes.md that begin with this title."""
    text = (DOCS / "routes.md").read_text(encoding="utf-8")
    tables = re.findall(rf"^\| {re.escape(title)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) for table in tables]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("identity: {X-User: sub}", "2:1: identity: unknown key; `identity` is a key of a route or of `defaults`"),
        ("subject: a.b", "2:1: subject: unknown key; `subject` is a key of a route"),
        ("defaults: {path: /a}", "2:12: defaults.path: unknown key; `path` is a key of a route"),
    ],
)
def test_a_key_of_a_route_in_another_place_gets_a_hint_where_it_belongs(tmp_path: Path, lines: str, fault: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(f"version: 1\n{lines}\nroutes:\n  - {{name: a, method: GET, path: /a, subject: a}}\n")
    with pytest.raises(RouteFileError) as caught:
        load_route_file(file)
    assert list(caught.value.faults) == [f"{file}:{fault}"]
