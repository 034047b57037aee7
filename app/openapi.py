"""From a route table to an OpenAPI 3.1 document. Pure."""

from collections.abc import Iterable, Mapping

from app.errors import (
    ERRORS,
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    build_problem,
)
from app.routes import Route, RouteTable
from app.subjects import MAX_TOKEN

Json = dict[str, object]

_BEFORE_A_ROUTE = (BadRequest, NotFound, MethodNotAllowed)

_PROBLEM_SCHEMA: Json = {
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
    },
}

_TIMEOUT_PARAMETER: Json = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "How long the reply may take: `500ms`, `2s`. More than the maximum means the maximum.",
    "schema": {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,6})?(ms|s|m)$"},
}
_REQUEST_ID_PARAMETER: Json = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Comes back in the response and stands in the log; made where it is absent or unclean.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
}


def build_openapi(table: RouteTable, *, title: str, version: str, description: str) -> Json:
    """The document of all routes, as a new dict that may be serialised as it is."""
    paths: dict[str, Json] = {}
    for route in table.routes:
        operations = paths.setdefault(route.path, {})
        for method in route.methods:
            operations[method.lower()] = _build_operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description, "license": _LICENSE},
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM_SCHEMA}},
    }


_LICENSE: Json = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def _build_operation(route: Route, method: str) -> Json:
    operation: Json = {
        "operationId": route.name if len(route.methods) == 1 else f"{route.name}.{method.lower()}",
        "summary": route.summary or route.name,
        "description": route.description,
        "tags": list(route.tags),
        "parameters": [*_build_path_parameters(route), _TIMEOUT_PARAMETER, _REQUEST_ID_PARAMETER],
        "responses": {
            str(route.reply.status): _build_success(route),
            **_build_problems(route),
        },
    }
    if route.payload == "body":
        operation["requestBody"] = {"content": {"*/*": {}}}
    return operation


def _build_path_parameters(route: Route) -> Iterable[Json]:
    described = {parameter.name: parameter for parameter in route.parameters}
    for name in route.path_parameters:
        entry: Json = {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_TOKEN, "pattern": r"^[^.*>/\s]+$"},
        }
        if parameter := described.get(name):
            told = {"description": parameter.description, "example": parameter.example}
            entry |= {key: text for key, text in told.items() if text}
        yield entry


def _build_success(route: Route) -> Json:
    headers = {"X-Request-Id": {"description": "The caller's, or one that was made.", "schema": {"type": "string"}}}
    example = route.reply.example
    if route.reply.wrap == "message":
        schema: Json = {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}
        content: dict[str, Json] = {
            "application/json": {"schema": schema, **({"example": {"message": example}} if example else {})},
            "text/plain": {"schema": {"type": "string"}, **({"example": example} if example else {})},
        }
    else:
        content = {route.reply.content_type or "application/octet-stream": {"example": example} if example else {}}
    return {"description": "The reply of the service.", "headers": headers, "content": content}


def _build_problems(route: Route) -> Mapping[str, Json]:
    by_status: dict[int, list[type[GatewayError]]] = {}
    for error in ERRORS:
        if error not in _BEFORE_A_ROUTE:
            by_status.setdefault(error.status, []).append(error)
    responses = {str(status): _build_problem(by_status[status], route) for status in sorted(by_status)}
    # A service error comes with the service's own status, or the route's.
    return {**responses, "default": _build_problem([ServiceError], route)}


def _build_problem(errors: list[type[GatewayError]], route: Route) -> Json:
    examples = {
        error.slug: {
            "summary": error.title,
            "value": build_problem(error(), instance=_example_path(route), request_id="01-1"),
        }
        for error in errors
    }
    response: Json = {
        "description": " Or: ".join(error.cause for error in errors),
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }
    if any(name == b"retry-after" for error in errors for name, _ in error.headers):
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return response


def _example_path(route: Route) -> str:
    examples = {parameter.name: parameter.example for parameter in route.parameters}
    path = route.path
    return "/".join(
        examples.get(segment[1:-1], segment) if segment.startswith("{") else segment for segment in path.split("/")
    )
