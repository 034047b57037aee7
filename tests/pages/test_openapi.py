import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.edge.allow_from import AllowFrom
from app.edge.content_length import RequireLength
from app.errors import ERRORS, OF_POLICIES, BadRequest, InvalidBody, MethodNotAllowed, NotFound, UnsupportedMediaType
from app.pages.openapi import build_openapi
from app.routing.parameters import Parameter
from app.routing.routes import ReplyRules, Route
from app.routing.table import RouteTable
from tests.harness import GREET_ROUTES, follow_references

NEVER_OF_A_ROUTE = {BadRequest.slug, NotFound.slug, MethodNotAllowed.slug, "http-version-not-supported"}
NEVER_OF_A_ROUTE |= {error.slug for error in OF_POLICIES}

NEVER_WITHOUT = {
    "greet": {InvalidBody.slug, UnsupportedMediaType.slug},
    "bare": {InvalidBody.slug, UnsupportedMediaType.slug},
    "store": {InvalidBody.slug},  # it has no schema
}
STORE = Route(
    name="store",
    methods=("POST", "PUT"),
    path="/store/{shelf}/{id}",
    subject="store.{id}.{shelf}",
    payload="body",
    parameters=(Parameter(name="id", description="Which one.", example="7"),),
    reply=ReplyRules(content_type="application/cbor", status=201),
)
BARE = Route(name="bare", methods=("DELETE",), path="/bare", subject="bare")
READ = Route(name="read", methods=("GET",), path="/store/{shelf}/{id}", subject="read.{id}.{shelf}")

each_table = pytest.mark.parametrize("routes", [GREET_ROUTES, (), (BARE,), (*GREET_ROUTES, STORE, BARE, READ)])


def build(*routes: Route) -> dict[str, Any]:
    """The document as a client reads it."""
    document = build_openapi(RouteTable(routes), title="T", version="1.2.3", description="D.")
    read = json.loads(json.dumps(document))
    assert isinstance(read, dict)
    return follow_references(read)


def collect_examples(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All problem examples of an operation by slug, but for those of `default`."""
    return {
        slug: example["value"] | {"documented_under": status}
        for status, response in operation["responses"].items()
        if status != "default"
        for slug, example in response["content"].get("application/problem+json", {}).get("examples", {}).items()
    }


@each_table
def test_the_document_is_valid_openapi_3_1(routes: tuple[Route, ...]) -> None:
    document = build(*routes)
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@each_table
def test_the_document_is_json_as_it_is(routes: tuple[Route, ...]) -> None:
    document = build_openapi(RouteTable(routes), title="T", version="1", description="")
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_document_says_whose_it_is() -> None:
    assert build()["info"] == {"title": "T", "version": "1.2.3", "description": "D."}


def test_every_path_and_method_is_an_operation_of_its_own() -> None:
    paths = build(*GREET_ROUTES, STORE, BARE, READ)["paths"]
    assert {
        (path, method): operation["operationId"] for path, item in paths.items() for method, operation in item.items()
    } == {
        ("/greet/{name}", "get"): "greet",
        ("/store/{shelf}/{id}", "post"): "store.post",
        ("/store/{shelf}/{id}", "put"): "store.put",
        ("/store/{shelf}/{id}", "get"): "read",
        ("/bare", "delete"): "bare",
    }


@pytest.mark.parametrize("route", [*GREET_ROUTES, STORE, BARE])
def test_every_problem_that_a_route_can_answer_is_documented_under_its_status(route: Route) -> None:
    operation = build(route)["paths"][route.path][route.methods[0].lower()]
    examples = collect_examples(operation)
    absent = NEVER_OF_A_ROUTE | NEVER_WITHOUT[route.name]
    expected = {error.slug: str(error.status) for error in ERRORS if error.slug not in absent}
    assert {slug: example["documented_under"] for slug, example in examples.items()} == expected


def test_what_a_policy_can_refuse_is_documented_on_its_routes() -> None:
    route = Route(
        name="asked",
        methods=("POST",),
        path="/asked",
        subject="asked",
        policies=(AllowFrom(["::1"]), RequireLength()),
    )
    responses = build(route)["paths"]["/asked"]["post"]["responses"]
    assert set(collect_examples(build(route)["paths"]["/asked"]["post"])) >= {"forbidden", "length-required"}
    assert {"403", "411"} <= set(responses)


def test_a_service_error_may_come_with_any_status() -> None:
    default = build(STORE)["paths"][STORE.path]["post"]["responses"]["default"]
    assert set(default["content"]["application/problem+json"]["examples"]) == {"service-error"}


@pytest.mark.parametrize("route", [*GREET_ROUTES, STORE, BARE])
def test_every_example_is_a_problem_by_the_schema(route: Route) -> None:
    document = build(route)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    examples = collect_examples(document["paths"][route.path][route.methods[0].lower()])
    assert examples
    for slug, example in examples.items():
        assert [error.message for error in schema.iter_errors(example)] == []
        assert (example["type"], str(example["status"])) == (f"/problems/{slug}", example["documented_under"])


WRONG_TEXTS = [{member: 1} for member in ("type", "title", "detail", "instance", "request_id")]
WRONG_STATUSES = [{"status": status} for status in (200, 399, 600, "404", 404.5)]


@pytest.mark.parametrize("change", [*WRONG_TEXTS, *WRONG_STATUSES, {"delivered": "maybe"}, {"retryable": None}])
def test_what_is_no_problem_breaks_the_schema(change: dict[str, object]) -> None:
    document = build(BARE)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    example = collect_examples(document["paths"]["/bare"]["delete"])["timeout"]
    assert schema.is_valid(example | {"status": 400})
    assert schema.is_valid(example | {"status": 599})
    assert not schema.is_valid(example | change)


@pytest.mark.parametrize("member", ["type", "title", "status", "detail", "request_id", "delivered", "retryable"])
def test_a_problem_has_all_its_members_but_sometimes_no_instance(member: str) -> None:
    document = build(BARE)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    example = collect_examples(document["paths"]["/bare"]["delete"])["timeout"]
    assert schema.is_valid({name: value for name, value in example.items() if name != "instance"})
    assert not schema.is_valid({name: value for name, value in example.items() if name != member})


def test_503_documents_when_to_retry() -> None:
    responses = build(BARE)["paths"]["/bare"]["delete"]["responses"]
    assert "Retry-After" in responses["503"]["headers"]
    assert all("headers" not in responses[status] for status in ("422", "502", "504", "default"))


def test_the_example_of_a_path_has_the_examples_of_its_parameters() -> None:
    assert [route.example_path for route in (*GREET_ROUTES, STORE)] == ["/greet/sue", "/store/{shelf}/7"]


def test_the_path_parameters_come_in_the_order_of_the_path_with_what_is_known_of_them() -> None:
    shelf, number, *rest = build(STORE)["paths"][STORE.path]["post"]["parameters"]
    assert (shelf["name"], shelf["in"], shelf["required"]) == ("shelf", "path", True)
    assert "description" not in shelf
    assert (number["name"], number["description"], number["example"]) == ("id", "Which one.", "7")
    assert [(parameter["name"], parameter["in"]) for parameter in rest] == [
        ("X-Request-Timeout", "header"),
        ("X-Request-Id", "header"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("name", "sue", True),
        ("name", "José", True),
        ("name", "x" * 128, True),
        ("name", "", False),
        ("name", "x" * 129, False),
        ("name", "a.b", False),
        ("name", "*", False),
        ("name", ">", False),
        ("name", "a b", False),
        ("X-Request-Timeout", "500ms", True),
        ("X-Request-Timeout", "1.5m", True),
        ("X-Request-Timeout", "2", False),
        ("X-Request-Timeout", "2h", False),
        ("X-Request-Timeout", "0s", False),
        ("X-Request-Timeout", "0.0ms", False),
        ("X-Request-Timeout", "0.5ms", True),
        ("X-Request-Id", "A.z_0-9", True),
        ("X-Request-Id", "a b", True),  # another is made
    ],
)
def test_the_documented_rules_of_a_parameter_are_those_of_the_gateway(name: str, value: str, valid: bool) -> None:
    parameters = build(*GREET_ROUTES)["paths"]["/greet/{name}"]["get"]["parameters"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in parameters}
    assert OAS31Validator(schemas[name]).is_valid(value) is valid


def test_only_a_route_that_sends_a_body_documents_one() -> None:
    paths = build(STORE, BARE)["paths"]
    assert paths[STORE.path]["post"]["requestBody"] == {"content": {"*/*": {}}}
    assert "requestBody" not in paths["/bare"]["delete"]


def test_a_success_has_the_status_and_the_type_of_its_route() -> None:
    stored = build(STORE)["paths"][STORE.path]["post"]["responses"]["201"]
    assert set(stored["content"]) == {"application/cbor"}
    bare = build(BARE)["paths"]["/bare"]["delete"]["responses"]["200"]
    assert set(bare["content"]) == {"application/octet-stream"}
    assert set(bare["headers"]) == {"X-Request-Id"}


def test_a_wrapped_reply_is_documented_as_json_and_as_text() -> None:
    content = build(*GREET_ROUTES)["paths"]["/greet/{name}"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/plain"}
    schema = OAS31Validator(content["application/json"]["schema"])
    assert schema.is_valid({"message": "hello, sue"})
    assert not schema.is_valid({"message": 1})
    assert not schema.is_valid({})


def test_summary_description_and_tags_are_the_routes_own() -> None:
    operation = build(*GREET_ROUTES)["paths"]["/greet/{name}"]["get"]
    route = GREET_ROUTES[0]
    assert (operation["summary"], operation["description"]) == (route.summary, route.description)
    assert operation["tags"] == ["greet"]
    assert build(BARE)["paths"]["/bare"]["delete"]["summary"] == "bare"


SEARCH = Route(
    name="search",
    methods=("GET",),
    path="/search/{kind}",
    subject="search.{kind}",
    payload="params",
    tags=("find",),
    deprecated=True,
    parameters=(
        Parameter(name="q", location="query", min_length=1, required=True, description="What.", example="hat"),
        Parameter(name="tag", location="query", many=True, pattern="[a-z]+", default=["a"]),
        Parameter(name="X-Tenant", location="header", type="integer", minimum=1),
    ),
    headers=("If-Match", "IF-MATCH", "authorization", "x-request-id", "X-Request-Timeout"),
)
NOTE = Route(
    name="note",
    methods=("POST",),
    path="/notes",
    subject="notes",
    tags=("write", "find"),
    body_schema={
        "$defs": {"t": {"type": "string"}},
        "properties": {"t": {"$ref": "#/$defs/t"}},
        "examples": [{"t": "a"}],
    },
    reply=ReplyRules(
        status=201, content_type="application/json", schema={"items": {"$ref": "#"}}, errors={7: 409, 8: 422}
    ),
)
GONE = Route(name="gone", methods=("DELETE",), path="/gone", subject="gone", reply=ReplyRules(status=204))


def test_a_list_in_one_text_and_a_format_are_told() -> None:
    ids = Parameter(name="id", location="query", many=True, separator=",", format="uuid")
    route = Route(name="a", methods=("GET",), path="/a", subject="a", payload="params", parameters=(ids,))
    parameter = build(route)["paths"]["/a"]["get"]["parameters"][0]
    assert (parameter["style"], parameter["explode"]) == ("form", False)
    assert parameter["schema"]["items"] == {"type": "string", "format": "uuid"}


def test_declared_parameters_have_their_place_and_their_rules() -> None:
    kind, q, tag, tenant, *rest = build(SEARCH)["paths"][SEARCH.path]["get"]["parameters"]
    assert (kind["name"], kind["in"], kind["required"], kind["schema"]["maxLength"]) == ("kind", "path", True, 128)
    assert q == {
        "name": "q",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "description": "What.",
        "example": "hat",
    }
    assert (tag["style"], tag["explode"], tag["required"]) == ("form", True, False)
    assert tag["schema"] == {
        "type": "array",
        "items": {"type": "string", "pattern": "^(?:[a-z]+)$"},
        "maxItems": 256,
        "default": ["a"],
    }
    assert (tenant["in"], tenant["schema"]) == ("header", {"type": "integer", "minimum": 1})
    # A header that travels can be filled in, once, unless OpenAPI has another word for it.
    assert [entry["name"] for entry in rest] == ["IF-MATCH", "X-Request-Timeout", "X-Request-Id"]


def test_a_checked_body_has_its_type_its_schema_and_its_example() -> None:
    document = build(NOTE)
    body = document["paths"]["/notes"]["post"]["requestBody"]
    assert body == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/note.body"}, "example": {"t": "a"}}},
    }
    schemas = document["components"]["schemas"]
    assert schemas["note.body"]["properties"]["t"] == {"$ref": "#/components/schemas/note.body/$defs/t"}
    assert schemas["note.reply"] == {"items": {"$ref": "#/components/schemas/note.reply"}}
    success = document["paths"]["/notes"]["post"]["responses"]["201"]
    assert success["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/note.reply"}}}


def test_the_statuses_that_service_errors_are_mapped_to_are_documented() -> None:
    responses = build(NOTE)["paths"]["/notes"]["post"]["responses"]
    slugs = {
        status: list(r["content"].get("application/problem+json", {}).get("examples", {}))
        for status, r in responses.items()
    }
    assert slugs["409"] == ["service-error"]
    assert slugs["422"] == ["invalid-parameter", "invalid-body", "service-error"]
    assert slugs["415"] == ["unsupported-media-type"]
    examples = responses["409"]["content"]["application/problem+json"]["examples"]
    assert examples["service-error"]["value"]["status"] == 409


def test_a_status_without_content_has_none() -> None:
    assert "content" not in build(GONE)["paths"]["/gone"]["delete"]["responses"]["204"]


def test_tags_stand_in_the_order_of_the_routes_and_deprecated_is_said() -> None:
    document = build(SEARCH, NOTE, GONE)
    assert document["tags"] == [{"name": "find"}, {"name": "write"}]
    assert document["paths"][SEARCH.path]["get"]["deprecated"] is True
    assert "deprecated" not in document["paths"]["/notes"]["post"]


@pytest.mark.parametrize("route", [SEARCH, NOTE, GONE], ids=lambda route: route.name)
def test_routes_of_all_kinds_make_a_valid_document(route: Route) -> None:
    document = build_openapi(RouteTable([route]), title="T", version="1", description="")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_a_route_more_makes_the_document_longer_by_little() -> None:
    def measure(count: int) -> int:
        routes = [
            Route(name=f"r{n}", methods=("GET",), path=f"/r{n}/{{id}}", subject=f"r{n}.{{id}}") for n in range(count)
        ]
        return len(json.dumps(build_openapi(RouteTable(routes), title="T", version="1", description="")))

    assert (measure(200) - measure(100)) / 100 < 2000
