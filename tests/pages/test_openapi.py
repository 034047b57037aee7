import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.edge.allow_from import AllowFrom
from app.edge.buckets import Limit
from app.edge.content_length import RequireLength
from app.edge.rate_limit import Counter, RateLimit
from app.formats.shared_schemas import SharedSchemas
from app.pages.openapi import build_openapi
from app.routing.parameters import Parameter
from app.routing.routes import ReplyRules, Route, StatusRules
from app.routing.table import RouteTable
from tests.harness import GREET_ROUTES, follow_references

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


def make(*routes: Route, **more: Any) -> dict[str, Any]:
    """The document as it is served."""
    info = {"title": "T", "version": "1.2.3", "description": "D."}
    read = json.loads(json.dumps(build_openapi(RouteTable(routes), **{"info": info, **more})))
    assert isinstance(read, dict)
    return read


def build(*routes: Route, **more: Any) -> dict[str, Any]:
    """The document as a client reads it."""
    return follow_references(make(*routes, **more))


def get_examples(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The examples of problems by the statuses that have them."""
    return {
        status: response["content"]["application/problem+json"]["example"]
        for status, response in operation["responses"].items()
        if "application/problem+json" in response.get("content", {})
    }


@each_table
def test_the_document_is_valid_openapi_3_1(routes: tuple[Route, ...]) -> None:
    document = build(*routes)
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@each_table
def test_the_document_is_json_as_it_is(routes: tuple[Route, ...]) -> None:
    document = build_openapi(RouteTable(routes), info={"title": "T", "version": "1"})
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_document_says_whose_it_is_and_where() -> None:
    more = {"contact": {"name": "C"}, "license": {"name": "MIT", "identifier": "MIT"}}
    servers = [{"url": "https://example.com/v1", "description": "S."}]
    document = build(info={"title": "T", "version": "1.2.3", "description": "D.", **more}, servers=servers)
    assert document["info"].pop("description").startswith("D.\n\n## Every request\n")
    assert document["info"] == {"title": "T", "version": "1.2.3", **more}
    assert document["servers"] == servers
    assert build()["servers"] == [{"url": "/"}]


def test_the_headers_of_every_request_are_told_once_in_the_description() -> None:
    document = build(*GREET_ROUTES, STORE, BARE)
    assert json.dumps(document).count("X-Request-Id") == json.dumps(document).count("X-Request-Timeout") == 1
    assert "`X-Request-Timeout`: how long" in document["info"]["description"]


def test_nobody_has_to_say_who_they_are() -> None:
    assert build(*GREET_ROUTES)["security"] == []


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
def test_what_is_not_special_to_a_route_is_one_client_error_and_one_server_error(route: Route) -> None:
    document = make(route)
    responses = document["paths"][route.path][route.methods[0].lower()]["responses"]
    assert list(responses) == [str(route.reply.status), "4XX", "5XX"]
    for status in ("4XX", "5XX"):
        assert responses[status] == {"$ref": f"#/components/responses/{status}"}
        response = document["components"]["responses"][status]
        assert "(problems)" in response["description"]
        (media,) = response["content"].values()
        assert media["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_what_a_policy_can_refuse_is_documented_on_its_routes() -> None:
    route = Route(
        name="asked",
        methods=("POST",),
        path="/asked",
        subject="asked",
        policies=(AllowFrom(["::1"]), RateLimit(Counter(Limit("x", 1, 1.0, 1, "ip")), route="asked"), RequireLength()),
    )
    operation = build(route)["paths"]["/asked"]["post"]
    assert list(operation["responses"]) == ["200", "403", "411", "429", "4XX", "5XX"]
    assert set(operation["responses"]["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    assert get_examples(operation)["403"]["type"] == "/problems/forbidden"
    assert get_examples(operation)["411"]["type"] == "/problems/length-required"


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_body_that_breaks_its_schema_is_documented_where_it_is_sent(method: str) -> None:
    route = Route(name="a", methods=("GET", "POST"), path="/a", subject="a", body_schema=True)
    operation = build(route)["paths"]["/a"][method]
    assert ("422" in operation["responses"]) is (method == "post")


def test_every_example_is_a_problem_by_the_schema() -> None:
    document = build(NOTE, *GREET_ROUTES)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    examples = get_examples(document["paths"]["/notes"]["post"])
    assert list(examples) == ["409", "422", "4XX", "5XX"]
    for status, example in examples.items():
        assert [error.message for error in schema.iter_errors(example)] == []
        assert str(example["status"])[0] == status[0]


WRONG_TEXTS = [{member: 1} for member in ("type", "title", "detail", "instance", "request_id")]
WRONG_STATUSES = [{"status": status} for status in (200, 399, 600, "404", 404.5)]


@pytest.mark.parametrize("change", [*WRONG_TEXTS, *WRONG_STATUSES, {"delivered": "maybe"}, {"retryable": None}])
def test_what_is_no_problem_breaks_the_schema(change: dict[str, object]) -> None:
    document = build(BARE)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    example = get_examples(document["paths"]["/bare"]["delete"])["5XX"]
    assert schema.is_valid(example | {"status": 400})
    assert schema.is_valid(example | {"status": 599})
    assert not schema.is_valid(example | change)


@pytest.mark.parametrize("member", ["type", "title", "status", "detail", "request_id", "delivered", "retryable"])
def test_a_problem_has_all_its_members_but_sometimes_no_instance(member: str) -> None:
    document = build(BARE)
    schema = OAS31Validator(document["components"]["schemas"]["Problem"])
    example = get_examples(document["paths"]["/bare"]["delete"])["5XX"]
    assert schema.is_valid({name: value for name, value in example.items() if name != "instance"})
    assert not schema.is_valid({name: value for name, value in example.items() if name != member})


def test_server_errors_document_when_to_retry() -> None:
    responses = build(NOTE)["paths"]["/notes"]["post"]["responses"]
    assert [status for status, response in responses.items() if "Retry-After" in response.get("headers", {})] == ["5XX"]


def test_the_example_of_a_path_has_the_examples_of_its_parameters() -> None:
    assert [route.example_path for route in (*GREET_ROUTES, STORE)] == ["/greet/sue", "/store/{shelf}/7"]


def test_the_path_parameters_come_in_the_order_of_the_path_with_what_is_known_of_them() -> None:
    shelf, number, *rest = build(STORE)["paths"][STORE.path]["post"]["parameters"]
    assert (shelf["name"], shelf["in"], shelf["required"]) == ("shelf", "path", True)
    assert "description" not in shelf
    assert (number["name"], number["description"], number["example"]) == ("id", "Which one.", "7")
    assert rest == []


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
    ],
)
def test_the_documented_rules_of_a_parameter_are_those_of_the_gateway(name: str, value: str, valid: bool) -> None:
    parameters = build(*GREET_ROUTES)["paths"]["/greet/{name}"]["get"]["parameters"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in parameters}
    assert OAS31Validator(schemas[name]).is_valid(value) is valid


def test_only_a_route_that_sends_a_body_documents_one() -> None:
    paths = build(STORE, BARE)["paths"]
    assert "requestBody" in paths[STORE.path]["post"]
    assert "requestBody" not in paths["/bare"]["delete"]


@pytest.mark.parametrize(
    ("media_type", "schema"),
    [
        ("application/json", {}),
        ("application/merge-patch+json", {}),
        ("text/csv", {"type": "string", "contentMediaType": "text/csv"}),
        ("image/png", {"type": "string", "format": "binary", "contentMediaType": "image/png"}),
        ("image/*", {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}),
    ],
)
def test_a_body_without_a_schema_may_be_anything_of_its_type(media_type: str, schema: object) -> None:
    route = Route(name="a", methods=("PUT",), path="/a", subject="a", accepts=(media_type,))
    assert build(route)["paths"]["/a"]["put"]["requestBody"] == {"content": {media_type: {"schema": schema}}}


def test_a_body_of_any_type_is_json_for_those_who_do_not_know_what_that_is() -> None:
    content = build(STORE)["paths"][STORE.path]["put"]["requestBody"]["content"]
    assert list(content) == ["application/json", "*/*"]
    assert (content["application/json"]["schema"], content["*/*"]["schema"]["format"]) == ({}, "binary")


def test_a_reply_without_a_schema_may_be_anything_of_its_type() -> None:
    success = build(STORE)["paths"][STORE.path]["post"]["responses"]["201"]
    assert success["content"] == {
        "application/cbor": {"schema": {"type": "string", "format": "binary", "contentMediaType": "application/cbor"}}
    }


def test_a_success_has_the_status_and_the_type_of_its_route() -> None:
    stored = build(STORE)["paths"][STORE.path]["post"]["responses"]["201"]
    assert set(stored["content"]) == {"application/cbor"}
    bare = build(BARE)["paths"]["/bare"]["delete"]["responses"]["200"]
    assert set(bare["content"]) == {"application/octet-stream"}
    assert "headers" not in bare


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
    bare = build(BARE)["paths"]["/bare"]["delete"]
    assert (bare["operationId"], bare["summary"]) == ("bare", "bare")
    assert not {"description", "tags", "parameters"} & set(bare)
    assert "tags" not in build(BARE)


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
    headers=("If-Match", "IF-MATCH", "X-Forwarded-For", "authorization", "x-request-id", "X-Request-Timeout"),
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
    assert [entry["name"] for entry in rest] == ["IF-MATCH"]


def test_a_checked_body_has_its_type_its_schema_and_its_example() -> None:
    document = build(NOTE)
    body = document["paths"]["/notes"]["post"]["requestBody"]
    assert body == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/note.body"}, "example": {"t": "a"}}},
    }
    schemas = document["components"]["schemas"]
    # Few tools follow a reference into `$defs`.
    assert schemas["note.body"]["properties"]["t"] == {"$ref": "#/components/schemas/note.body.t"}
    assert schemas["note.body.t"] == {"type": "string"}
    assert "$defs" not in schemas["note.body"]
    assert schemas["note.reply"] == {"items": {"$ref": "#/components/schemas/note.reply"}}
    success = document["paths"]["/notes"]["post"]["responses"]["201"]
    assert success["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/note.reply"}}}


def test_the_statuses_that_service_errors_are_mapped_to_are_documented() -> None:
    responses = build(NOTE)["paths"]["/notes"]["post"]["responses"]
    assert list(responses) == ["201", "409", "422", "4XX", "5XX"]
    assert "with an error" in responses["409"]["description"]
    assert " Or: " in responses["422"]["description"]
    example = responses["409"]["content"]["application/problem+json"]["example"]
    assert (example["type"], example["status"]) == ("/problems/service-error", 409)


def test_the_statuses_that_a_service_sets_itself_are_documented() -> None:
    statuses = {
        202: StatusRules(description="Later.", schema={"type": "object"}, headers=(("Location", "Where."),)),
        304: StatusRules(),
    }
    route = Route(
        name="a",
        methods=("GET",),
        path="/a",
        subject="a",
        reply=ReplyRules(content_type="application/json", statuses=statuses),
    )
    responses = build(route)["paths"]["/a"]["get"]["responses"]
    assert list(responses) == ["200", "202", "304", "4XX", "5XX"]
    assert responses["202"] == {
        "description": "Later.",
        "headers": {"Location": {"description": "Where.", "schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/a.202"}}},
    }
    assert responses["304"] == {"description": "The reply of the service."}


def test_a_body_that_parameters_are_merged_into_is_documented() -> None:
    route = Route(name="a", methods=("POST",), path="/a/{id}", subject="a", payload="merge")
    operation = build(route)["paths"]["/a/{id}"]["post"]
    assert operation["requestBody"] == {
        "content": {"application/json": {"schema": {}}},
        "required": True,
        "description": "A JSON object. It may not have the keys of parameters, which are added to it: `id`.",
    }
    assert "422" in operation["responses"]


def test_a_long_chain_of_shared_schemas_is_written() -> None:
    named: dict[str, Any] = {f"A{n}": {"properties": {"a": {"$ref": f"#/schemas/A{n + 1}"}}} for n in range(3000)}
    schemas = SharedSchemas({**named, "A3000": {"type": "null"}})
    route = Route(
        name="a", methods=("POST",), path="/a", subject="a", body_schema={"$ref": "#/schemas/A0"}, schemas=schemas
    )
    components = build(route)["components"]["schemas"]
    assert components["A2999"] == {"properties": {"a": {"$ref": "#/components/schemas/A3000"}}}
    assert len(components) == 3001 + 1


def test_a_text_that_is_no_token_has_no_rules_of_one() -> None:
    name = Parameter(name="name", token="escaped")  # noqa: S106
    route = Route(name="a", methods=("GET",), path="/a/{name}", subject="a.{name}", parameters=(name,))
    (parameter,) = build(route)["paths"]["/a/{name}"]["get"]["parameters"]
    assert parameter["schema"] == {"type": "string", "minLength": 1}


def test_a_tail_is_a_parameter_of_its_path() -> None:
    route = Route(name="a", methods=("GET",), path="/a/{rest...}", subject="a.{rest...}")
    document = build(route)
    (parameter,) = document["paths"]["/a/{rest}"]["get"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["schema"]) == (
        "rest",
        "path",
        {"type": "string", "minLength": 1},
    )
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_a_status_without_content_has_none() -> None:
    assert "content" not in build(GONE)["paths"]["/gone"]["delete"]["responses"]["204"]


def test_tags_stand_in_the_order_of_the_routes_and_deprecated_is_said() -> None:
    document = build(SEARCH, NOTE, GONE)
    assert document["tags"] == [{"name": "find"}, {"name": "write"}]
    described = build(SEARCH, NOTE, tags=[{"name": "write", "description": "W."}])
    assert described["tags"] == [{"name": "write", "description": "W."}, {"name": "find"}]
    assert document["paths"][SEARCH.path]["get"]["deprecated"] is True
    assert "deprecated" not in document["paths"]["/notes"]["post"]


@pytest.mark.parametrize("route", [SEARCH, NOTE, GONE], ids=lambda route: route.name)
def test_routes_of_all_kinds_make_a_valid_document(route: Route) -> None:
    document = make(route)
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_a_route_more_makes_the_document_longer_by_little() -> None:
    def measure(count: int) -> int:
        routes = [
            Route(name=f"r{n}", methods=("GET",), path=f"/r{n}/{{id}}", subject=f"r{n}.{{id}}") for n in range(count)
        ]
        return len(json.dumps(make(*routes)))

    assert (measure(200) - measure(100)) / 100 < 800


SHARED = SharedSchemas(
    {
        "Order": {
            "type": "object",
            "properties": {"item": {"$ref": "#/schemas/Item"}, "next": {"$ref": "#"}, "size": {"$ref": "#/$defs/size"}},
            "$defs": {"size": {"type": "integer"}, "a b": {"$ref": "#/schemas/Item/properties/id"}},
        },
        "Item": {"properties": {"id": {"type": "string"}}},
        "Unused": {},
        "Problem": {"type": "string"},
    },
    {"schemas/address.yaml": {"type": "string"}},
)


def make_route(name: str, body: object, reply: object) -> Route:
    rules = ReplyRules(content_type="application/json", schema=reply)  # type: ignore[arg-type]
    return Route(
        name=name,
        methods=("POST",),
        path=f"/{name}",
        subject=name,
        body_schema=body,  # type: ignore[arg-type]
        reply=rules,
        schemas=SHARED,
    )


def get_schemas(document: dict[str, Any], name: str) -> tuple[object, object]:
    """The schemas of the body and of the reply of a route."""
    operation = document["paths"][f"/{name}"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    return body, operation["responses"]["200"]["content"]["application/json"]["schema"]


def test_a_shared_schema_is_one_component_with_its_own_name() -> None:
    order = {"$ref": "#/schemas/Order"}
    document = make(make_route("a", order, order), make_route("b", order, {"type": "array", "items": order}))
    component = {"$ref": "#/components/schemas/Order"}
    assert get_schemas(document, "a") == (component, component)
    assert get_schemas(document, "b") == (component, {"$ref": "#/components/schemas/b.reply"})
    schemas = document["components"]["schemas"]
    assert schemas.pop("Problem")["required"]
    assert schemas == {
        "Order": {
            "type": "object",
            "properties": {
                "item": {"$ref": "#/components/schemas/Item"},
                "next": {"$ref": "#/components/schemas/Order"},
                "size": {"$ref": "#/components/schemas/Order.size"},
            },
        },
        "Order.size": {"type": "integer"},
        "Order.a_b": {"$ref": "#/components/schemas/Item/properties/id"},
        "Item": {"properties": {"id": {"type": "string"}}},
        "b.reply": {"type": "array", "items": component},
    }


def test_a_schema_that_is_called_problem_leaves_ours_another_name() -> None:
    document = make(make_route("a", {"$ref": "#/schemas/Problem"}, None))
    assert document["components"]["schemas"]["Problem"] == {"type": "string"}
    (media,) = document["components"]["responses"]["4XX"]["content"].values()
    assert media["schema"] == {"$ref": "#/components/schemas/Problem-2"}
    assert document["components"]["schemas"]["Problem-2"]["required"]


def test_a_schema_that_several_routes_have_is_one_component_wherever_it_is_written() -> None:
    in_file, aliased = SHARED.resolve("schemas/address.yaml"), {"type": "integer"}
    document = make(make_route("a", in_file, aliased), make_route("b", in_file, aliased), make_route("c", True, False))
    address = {"$ref": "#/components/schemas/address"}
    assert (
        get_schemas(document, "a") == get_schemas(document, "b") == (address, {"$ref": "#/components/schemas/a.reply"})
    )
    assert get_schemas(document, "c") == ({}, False)
    assert set(document["components"]["schemas"]) == {"Problem", "address", "a.reply"}
