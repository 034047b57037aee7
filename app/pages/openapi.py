"""From a route table to an OpenAPI 3.1 document. Pure."""

from ..edge.request import BODY_METHODS
from ..errors import (
    ERRORS,
    OF_POLICIES,
    BadRequest,
    GatewayError,
    InvalidBody,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    UnsupportedMediaType,
    VersionNotSupported,
)
from ..exchange.problems import build_problem
from ..formats.schemas import Json, rebase
from ..routing.parameters import Parameter, token_schema
from ..routing.routes import Route
from ..routing.table import RouteTable

Object = dict[str, Json]

_NOT_OF_EVERY_ROUTE = (BadRequest, NotFound, MethodNotAllowed, VersionNotSupported, *OF_POLICIES)

_PROBLEM_SCHEMA: Object = {
    "type": "object",
    "description": "Why a request failed (RFC 9457), and whether the service has run.",
    "required": ["type", "title", "status", "detail", "request_id", "delivered", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "A page that explains cause and cure."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The path of the request."},
        "request_id": {"type": "string"},
        "delivered": {
            "type": "string",
            "enum": ["no", "yes", "unknown"],
            "description": "Whether the service has run.",
        },
        "retryable": {
            "type": "boolean",
            "description": "True where the service has not run and the same request may succeed later.",
        },
        "errors": {
            "type": "array",
            "description": "All that is wrong with the body, each with a JSON pointer into it, or with the parameters.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                    "in": {"type": "string", "enum": ["path", "query", "header"]},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_TIMEOUT_PARAMETER: Object = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "How long the reply may take: `500ms`, `2s`. More than the maximum means the maximum.",
    "schema": {"type": "string", "pattern": r"^(?=.*[1-9])\d{1,9}(\.\d{1,6})?(ms|s|m)$"},
}
_REQUEST_ID_PARAMETER: Object = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Comes back in the response and stands in the log. Another is made where it is absent, or not 1 to "
    "128 of letters, digits, `.`, `_` and `-`.",
    "schema": {"type": "string"},
}


_PARAMETERS: Object = {"X-Request-Timeout": _TIMEOUT_PARAMETER, "X-Request-Id": _REQUEST_ID_PARAMETER}
_SHARED_PARAMETERS: list[Json] = [{"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS]


def build_openapi(table: RouteTable, *, title: str, version: str, description: str) -> Object:
    """The document of all routes, as a new dict that may be serialised as it is."""
    paths: dict[str, Object] = {}
    schemas: Object = {"Problem": _PROBLEM_SCHEMA}
    problems: Object = {}
    for route in table.routes:
        schemas |= _collect_schemas(route)
        operations = paths.setdefault(route.path, {})
        for method in route.methods:
            operations[method.lower()] = _build_operation(route, method, problems)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "tags": [{"name": tag} for tag in dict.fromkeys(tag for route in table.routes for tag in route.tags)],
        "paths": dict(paths),
        "components": {"schemas": schemas, "responses": problems, "parameters": _PARAMETERS},
    }


def _collect_schemas(route: Route) -> Object:
    """The schemas of a route by their names in the document, where their own references still lead to themselves."""
    found = {f"{route.name}.body": route.body_schema, f"{route.name}.reply": route.reply.schema}
    return {name: rebase(schema, _point(name)) for name, schema in found.items() if schema is not None}


def _point(name: str, kind: str = "schemas") -> str:
    return f"#/components/{kind}/{name}"


def _build_operation(route: Route, method: str, problems: Object) -> Json:
    """What all operations have alike they refer to: of ten thousand, each is small. Adds to `problems`."""
    parameters = [_build_parameter(route, parameter) for parameter in route.parameters]
    success: Object = {str(route.reply.status): _build_success(route)}
    operation: Object = {
        "operationId": route.name if len(route.methods) == 1 else f"{route.name}.{method.lower()}",
        "summary": route.summary or route.name,
        "description": route.description,
        "tags": list(route.tags),
        "parameters": [*parameters, *_build_forwarded(route), *_SHARED_PARAMETERS],
        "responses": success | _build_problems(route, method, problems) | success,  # it stands first
    }
    if route.deprecated:
        operation["deprecated"] = True
    if route.choose_payload(method) == "body":
        operation["requestBody"] = _build_body(route)
    return operation


def _build_parameter(route: Route, parameter: Parameter) -> Json:
    document = parameter.document
    if parameter.name in route.subject_template.parameters and parameter.type == "string":
        document = {**token_schema(), **document}
    entry: Object = {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.is_required,
        "schema": document,
    }
    if parameter.location == "path" and parameter.type == "string":
        document.setdefault("minLength", 1)
    if parameter.many:
        entry |= {"style": "form", "explode": parameter.separator is None}
    example: Json = list(parameter.example) if isinstance(parameter.example, list) else parameter.example
    told: Object = {"description": parameter.description or None, "example": example}
    return entry | {key: value for key, value in told.items() if value is not None}


def _build_forwarded(route: Route) -> list[Json]:
    """The headers of the allow-list that callers may want to set by hand. OpenAPI itself has words for three others."""
    left_out = {parameter.name.lower() for parameter in route.parameters} | _QUIET_HEADERS
    names = {name.lower(): name for name in route.headers if name.lower() not in left_out}
    return [
        {"name": name, "in": "header", "description": "Passed on to the service.", "schema": {"type": "string"}}
        for name in names.values()
    ]


# Tracing is for programs; two have an entry of their own; OpenAPI 3.1 §4.8.12 ignores the last three.
_QUIET_HEADERS = frozenset(
    ("traceparent", "tracestate", "x-request-id", "x-request-timeout", "accept", "content-type", "authorization")
)


def _build_body(route: Route) -> Json:
    schema = route.body_schema
    media: Object = {} if schema is None else {"schema": {"$ref": _point(f"{route.name}.body")}}
    if isinstance(schema, dict) and isinstance(examples := schema.get("examples"), list) and examples:
        media["example"] = examples[0]
    content: Object = dict.fromkeys(route.accepts or ("*/*",), media)
    return {"content": content, **({} if schema is None else {"required": True})}


def _build_success(route: Route) -> Json:
    reply = route.reply
    headers: Object = {
        "X-Request-Id": {"description": "The caller's, or one that was made.", "schema": {"type": "string"}}
    }
    headers |= {name: {"schema": {"type": "string", "const": value}} for name, value in reply.set_headers}
    response: Object = {"description": "The reply of the service.", "headers": headers}
    example: Object = {} if reply.example in (None, "") else {"example": reply.example}
    if reply.wrap == "message":
        schema: Object = {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}
        wrapped: Object = {"example": {"message": reply.example}} if example else {}
        content: Object = {
            "application/json": {"schema": schema, **wrapped},
            "text/plain": {"schema": {"type": "string"}, **example},
        }
    else:
        shape: Object = {} if reply.schema is None else {"schema": {"$ref": _point(f"{route.name}.reply")}}
        content = {reply.content_type or "application/octet-stream": {**shape, **example}}
    return response if reply.status in _WITHOUT_CONTENT else {**response, "content": content}


_WITHOUT_CONTENT = frozenset((204, 205, 304))


def _build_problems(route: Route, method: str, problems: Object) -> Object:
    by_status: dict[int, list[type[GatewayError]]] = {}
    of_policies = {error for policy in route.policies for error in policy.errors}
    for error in ERRORS:
        if error in of_policies or (error not in _NOT_OF_EVERY_ROUTE and _can_happen(error, route, method)):
            by_status.setdefault(error.status, []).append(error)
    for status in route.reply.errors.values():
        if ServiceError not in by_status.setdefault(status, []):
            by_status[status].append(ServiceError)
    responses = {str(status): _refer_to_problem(by_status[status], status, problems) for status in sorted(by_status)}
    # A service error that the route does not map comes with the service's own status.
    return {**responses, "default": _refer_to_problem([ServiceError], ServiceError.status, problems)}


def _refer_to_problem(errors: list[type[GatewayError]], status: int, problems: Object) -> Json:
    name = f"{status}.{'.'.join(error.slug for error in errors)}"
    if name not in problems:
        problems[name] = _build_problem(errors, status)
    return {"$ref": _point(name, "responses")}


def _can_happen(error: type[GatewayError], route: Route, method: str) -> bool:
    """Whether a request can fail so on this route. Any body may come with a `Content-Encoding`, and one that the route
    would drop is refused."""
    sends_body = route.choose_payload(method) == "body"
    if error is InvalidBody:
        return sends_body and route.body_schema is not None
    return error is not UnsupportedMediaType or sends_body or method in BODY_METHODS


def _build_problem(errors: list[type[GatewayError]], status: int) -> Json:
    examples: Object = {
        error.slug: {"summary": error.title, "value": _build_example(error, status)} for error in errors
    }
    response: Object = {
        "description": " Or: ".join(error.cause for error in errors),
        "content": {"application/problem+json": {"schema": {"$ref": _point("Problem")}, "examples": examples}},
    }
    if any(name == b"retry-after" for error in errors for name, _ in error.headers):
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return response


def _build_example(error: type[GatewayError], status: int) -> Json:
    made = ServiceError(status=status) if issubclass(error, ServiceError) else error()
    problem = build_problem(made, instance="", request_id="01-1")
    return {key: value for key, value in problem.items() if key != "instance"}
