"""Makes an OpenAPI 3.1 document of a route table. Pure."""

from collections.abc import Mapping, Sequence

from ..edge.auth import Authenticate
from ..errors import (
    GatewayError,
    InvalidBody,
    InvalidParameter,
    NoResponders,
    RateLimited,
    ServiceError,
    Unauthenticated,
)
from ..exchange.problems import build_problem
from ..formats.fields import is_of_proxies
from ..formats.schemas import Json
from ..routing.parameters import Parameter, token_schema
from ..routing.routes import Route, StatusRules
from ..routing.table import RouteTable
from ..routing.words import WITH_BODY
from .components import Components
from .kinds import describe_success, list_errors, list_headers

Object = dict[str, Json]

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
            "description": "Whether the service has run, or the message is stored.",
        },
        "retryable": {
            "type": "boolean",
            "description": "True if the same request may succeed later, and can't take effect twice.",
        },
        "errors": {
            "type": "array",
            "description": "All mistakes in the body, each with a JSON pointer, or all mistakes in the parameters.",
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

_EVERY_REQUEST = """\
## Every request

Any request may have these two headers:

- `X-Request-Id`: 1 to 128 letters, digits, `.`, `_` and `-`. The response and the log have the same id. If the header \
is missing, the gateway makes an id.
- `X-Request-Timeout`: how long the reply may take, such as `500ms` or `2s`. A longer time than the maximum of the \
route counts as the maximum.

Each operation lists its own statuses. `4XX` and `5XX` are for all others of 400 and above: see \
[the list of problems](problems), which explains each of them."""

_CLIENT, _SERVER = "4XX", "5XX"
_SEE = "See [the list of problems](problems)."


def build_openapi(
    table: RouteTable, *, info: Mapping[str, Json], servers: Sequence[Json] = (), tags: Sequence[Json] = ()
) -> Object:
    """The document of all routes, as a new dict that can be serialised. `info`, `servers` and `tags` are those of
    OpenAPI. Rules for every request are at the end of the description, once for all operations."""
    components = Components(table.routes, problem=_PROBLEM_SCHEMA)
    paths: dict[str, Object] = {}
    for route in table.routes:
        operations = paths.setdefault(route.path.replace("...}", "}"), {})  # OpenAPI has no tails
        for method in route.methods:
            operations[method.lower()] = _build_operation(route, method, components)
    description = "\n\n".join(filter(None, (str(info.get("description", "")), _EVERY_REQUEST)))
    document: Object = {
        "openapi": "3.1.0",
        "servers": list(servers) or [{"url": "/"}],
        "info": {**info, "description": description},
        "security": [],  # operations that need credentials say so themselves
        "tags": _list_tags(table, tags),
        "paths": dict(paths),
        "components": {"schemas": components.schemas, "responses": components.responses, **_list_schemes(table)},
    }
    return {key: value for key, value in document.items() if key != "tags" or value}


def _list_schemes(table: RouteTable) -> Object:
    """The security schemes of all routes."""
    found = [auth for route in table.routes if (auth := find_auth(route))]
    schemes: Object = {name: dict(scheme.describe()) for auth in found for name, scheme in auth.schemes.items()}
    return {"securitySchemes": schemes} if schemes else {}


def find_auth(route: Route) -> Authenticate | None:
    """The `auth` policy of a route, if it has one."""
    return next((policy for policy in route.policies if isinstance(policy, Authenticate)), None)


def _list_tags(table: RouteTable, described: Sequence[Json]) -> list[Json]:
    """The described tags in their order, then all other tags of routes."""
    names = {str(tag["name"]) for tag in described if isinstance(tag, dict)}
    others = dict.fromkeys(tag for route in table.routes for tag in route.tags if tag not in names)
    undescribed: list[Json] = [{"name": tag} for tag in others]
    return [*described, *undescribed]


def _build_operation(route: Route, method: str, components: Components) -> Json:
    """The operation of a route and a method. It refers to everything that operations share, so it is small even if
    there are ten thousand."""
    operation: Object = {
        "operationId": route.name if len(route.methods) == 1 else f"{route.name}.{method.lower()}",
        "summary": route.summary or route.name,
        "description": route.description,
        "tags": list(route.tags),
        "parameters": [
            *(_build_parameter(route, parameter) for parameter in route.parameters if parameter.location != "claim"),
            *list_headers(route),
            *_build_forwarded(route),
        ],
    }
    operation = {key: value for key, value in operation.items() if value}
    if route.deprecated:
        operation["deprecated"] = True
    if auth := find_auth(route):
        operation["security"] = auth.security
    if route.choose_payload(method) in WITH_BODY:
        operation["requestBody"] = _build_body(route, components)
    success = describe_success(route, components) or _build_replies(route, components)
    operation["responses"] = success | _build_problems(route, method, components) | success  # to put them first
    return operation


def _build_parameter(route: Route, parameter: Parameter) -> Json:
    document = parameter.document
    free = parameter.token is not None or parameter.name == route.tail  # not bound by the rules of a token
    if parameter.name in route.subject_template.parameters and parameter.type == "string" and not free:
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
    optional: Object = {"description": parameter.description or None, "example": example}
    return entry | {key: value for key, value in optional.items() if value is not None}


def _build_forwarded(route: Route) -> list[Json]:
    """The listed headers that callers may want to set by hand. OpenAPI describes three others in its own way."""
    left_out = {parameter.name.lower() for parameter in route.parameters} | _QUIET_HEADERS
    listed = (name for name in route.headers if not is_of_proxies(name))  # the gateway writes those
    names = {name.lower(): name for name in listed if name.lower() not in left_out}
    return [
        {"name": name, "in": "header", "description": "Passed on to the service.", "schema": {"type": "string"}}
        for name in names.values()
    ]


# Programs set those for tracing; two others have their own entry; OpenAPI 3.1 §4.8.12 ignores the last three.
_QUIET_HEADERS = frozenset(
    ("traceparent", "tracestate", "x-request-id", "x-request-timeout", "accept", "content-type", "authorization")
)


def _build_body(route: Route, components: Components) -> Json:
    schema = route.schemas.find_whole(route.body_schema)
    examples = schema.get("examples") if isinstance(schema, dict) else None
    example: Object = {"example": examples[0]} if isinstance(examples, list) and examples else {}
    content: Object = {
        media_type: {"schema": components.describe(route, "body", route.body_schema, media_type), **example}
        for media_type in route.accepts or _ANYTHING
    }
    body: Object = {"content": content}
    if route.body_rules.reads_json:
        body["required"] = True
    if route.payload == "merge":
        names = ", ".join(f"`{parameter.name}`" for parameter in route.parameters if not parameter.header)
        body["description"] = f"A JSON object. It may not have the keys of parameters, which are added to it: {names}."
    return body


# Generators that do not understand `*/*` then make a function for JSON.
_ANYTHING = ("application/json", "*/*")


def _build_replies(route: Route, components: Components) -> Object:
    """By status, what the service replies."""
    return {str(route.reply.status): _build_success(route, components)} | _build_statuses(route, components)


def _build_success(route: Route, components: Components) -> Json:
    reply = route.reply
    response: Object = {"description": "The reply of the service."}
    if reply.set_headers:
        response["headers"] = {
            name: {"schema": {"type": "string", "const": value}} for name, value in reply.set_headers
        }
    if reply.status in _WITHOUT_CONTENT:
        return response
    example: Object = {} if reply.example in (None, "") else {"example": reply.example}
    if reply.wrap == "message":
        wrapped: Object = {"example": {"message": reply.example}} if example else {}
        content: Object = {
            "application/json": {"schema": _MESSAGE, **wrapped},
            "text/plain": {"schema": {"type": "string"}, **example},
        }
    else:
        media_type = reply.media_type
        content = {media_type: {"schema": components.describe(route, "reply", reply.schema, media_type), **example}}
    return {**response, "content": content}


def _build_statuses(route: Route, components: Components) -> Object:
    """The responses for the statuses that the service may set itself."""
    return {
        str(status): _build_status(route, status, rules, components) for status, rules in route.reply.statuses.items()
    }


def _build_status(route: Route, status: int, rules: StatusRules, components: Components) -> Json:
    response: Object = {"description": rules.description or "The reply of the service."}
    if rules.headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in rules.headers
        }
    if status in _WITHOUT_CONTENT:
        return response
    media_type = route.reply.media_type
    schema = components.describe(route, str(status), rules.schema, media_type)
    return {**response, "content": {media_type: {"schema": schema}}}


_MESSAGE: Object = {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}
_WITHOUT_CONTENT = frozenset((204, 205, 304))


def _build_problems(route: Route, method: str, components: Components) -> Object:
    """Responses by status: first those of the route itself, from its policies, its schema and its service. Then two for
    all other problems."""
    by_status: dict[int, list[type[GatewayError]]] = {}
    special = list(dict.fromkeys(error for policy in route.policies for error in policy.errors)) + list_errors(route)
    if (route.body_schema is not None or route.payload == "merge") and route.choose_payload(method) in WITH_BODY:
        special.append(InvalidBody)
    for error in special:
        by_status.setdefault(error.status, []).append(error)
    for status in route.reply.errors.values():
        if ServiceError not in by_status.setdefault(status, []):
            by_status[status].append(ServiceError)
    responses = {str(status): _refer(by_status[status], status, components) for status in sorted(by_status)}
    for name, (description, error) in _ANY.items():
        if name not in components.responses:
            components.responses[name] = _build_problem(description, error, error.status, components)
        responses[name] = {"$ref": f"#/components/responses/{name}"}
    return responses


_ANY: Mapping[str, tuple[str, type[GatewayError]]] = {
    _CLIENT: (f"The gateway or the service refuses the request. {_SEE}", InvalidParameter),
    _SERVER: (
        f"The gateway got no usable reply. `delivered` says whether the service has run. {_SEE}",
        NoResponders,
    ),
}


def _refer(errors: list[type[GatewayError]], status: int, components: Components) -> Json:
    name = f"{status}.{'.'.join(error.slug for error in errors)}"
    if name not in components.responses:
        description = " Or: ".join(error.cause for error in errors)
        components.responses[name] = _build_problem(description, errors[0], status, components)
    return {"$ref": f"#/components/responses/{name}"}


def _build_problem(description: str, error: type[GatewayError], status: int, components: Components) -> Json:
    media: Object = {
        "schema": {"$ref": f"#/components/schemas/{components.problem}"},
        "example": _build_example(error, status),
    }
    response: Object = {"description": description, "content": {"application/problem+json": media}}
    headers = dict(_HEADERS.get(error, {}))
    if any(name == b"retry-after" for name, _ in error.headers):
        headers["Retry-After"] = ("Seconds.", "integer")
    if headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in headers.items()
        }
    return response


# Their meanings and types.
_HEADERS: Mapping[type[GatewayError], Mapping[str, tuple[str, str]]] = {
    Unauthenticated: {"WWW-Authenticate": ("What to send.", "string")},
    RateLimited: {
        "RateLimit": ("How many requests are left, and the seconds until all are available again.", "string"),
        "RateLimit-Policy": ("How many requests are allowed in how many seconds.", "string"),
    },
}


def _build_example(error: type[GatewayError], status: int) -> Json:
    made = ServiceError(status=status) if issubclass(error, ServiceError) else error()
    problem = build_problem(made, instance="", request_id="01-1")
    return {key: value for key, value in problem.items() if key != "instance"}
