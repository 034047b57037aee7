"""The keys of the route file: their types, and what they mean. docs/routes.md and routes.schema.json come from here.

Only shapes are checked here. What a route may say is checked by `Route` and `Parameter`, which `to_route` makes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from ..edge.allow_from import AllowFrom
from ..edge.content_length import RequireLength
from ..edge.identity import Scheme
from ..edge.policy import Policy
from ..edge.rate_limit import Counter
from ..formats.fields import REPLY_HEADERS, REQUEST_HEADERS
from ..formats.shared_schemas import SharedSchemas
from ..routing.parameters import Format, Parameter
from ..routing.paths import list_parameters, parse_path, parse_prefix
from ..routing.routes import ReplyRules, Route, StatusRules
from ..routing.tokens import Token
from ..routing.words import check_name, parse_subject
from .about import InfoModel, ServerModel, TagModel
from .auth import Auth, SchemeModel, make_auth
from .cors import NO_CORS, CorsModel, RouteCors, make_cors
from .names import IdentitySource, SchemeName
from .rate_limits import LimitModel, LimitName, RateLimits, make_rate_limits
from .replies import ReplyModel, StatusModel
from .strict import StrictModel, check_with
from .types import Duration, Header, Methods, Networks, Number, Scalar, SchemaName, SchemaOrFile, Size, Value


class ParameterModel(StrictModel):
    """One parameter, by its name."""

    location: Literal["path", "query", "header", "claim"] | None = Field(
        None,
        alias="in",
        description="Where it stands in the request, or `claim`: what is known of the caller. Default: `path` if it is "
        "in the path, else `query`.",
    )
    type: Literal["string", "integer", "number", "boolean"] = Field("string", description="The type of its value.")
    many: bool = Field(False, description="A query parameter that may be repeated: its value is a list.")
    separator: Literal[","] | None = Field(
        None, description="With `many`: the values stand in one text, `?id=1,2,3`, and the parameter is not repeated."
    )
    format: Format | None = Field(None, description="What a text must be, such as `uuid`, as JSON Schema means it.")
    pattern: str | None = Field(
        None, description="A regular expression for the whole text, without look-around and back-references."
    )
    enum: list[Scalar] | None = Field(None, description="All values that there are.")
    minimum: Number = Field(None, alias="min", description="The least number.")
    maximum: Number = Field(None, alias="max", description="The greatest number.")
    min_length: int | None = Field(None, ge=0, description="The least number of characters.")
    max_length: int | None = Field(None, ge=0, description="The greatest number of characters.")
    required: bool | None = Field(None, description="Must it be there? A path parameter always is. Default: false.")
    default: Value = Field(None, description="The value where the request has none.")
    header: str | None = Field(
        None, description="The NATS header in which it goes to the service, beside a body or instead of the payload."
    )
    claim: str | None = Field(
        None,
        description="With `in: claim`: the name of the claim, or the path to it, such as `org.id`. Default: the name "
        "of the parameter.",
    )
    token: Token | None = Field(
        None,
        description="How a text that need not be a token becomes one in the subject: `escaped`, every byte but "
        "`A-Za-z0-9_~-` as `%XX`, or `base64url`, without padding.",
    )
    description: str = Field("", description="For the documentation.")
    example: Value = Field(None, description="For the documentation.")


class DefaultsModel(StrictModel):
    """Values for every route that does not set them itself: any key of a route except `name`, `method`, `path` and
    `subject`. The keys of `params`, `send_headers`, `identity`, `reply`, `reply.errors`, `reply.set_headers` and
    `reply.statuses` are joined with those of the route. Any other value of the route replaces the default."""

    summary: str = Field("", description="A short title, for the documentation.")
    description: str = Field("", description="For the documentation; CommonMark.")
    tags: list[str] = Field([], description="Groups of routes in the documentation.")
    deprecated: bool = Field(False, description="Marks the route in the documentation.")
    params: dict[str, ParameterModel] = Field(
        {}, description="The parameters, by name. Those of the path need not be listed."
    )
    query: Literal["ignore", "strict"] = Field(
        "ignore", description="With `strict` a query parameter that is not declared gets 422."
    )
    payload: Literal["none", "body", "params", "merge"] | None = Field(
        None,
        description="What is sent: nothing, the request body as it is, a JSON object of all parameters, or the JSON "
        "object of the body with the parameters in it. Default: `body` for POST, PUT and PATCH, else `none`.",
    )
    accepts: list[str] = Field(
        [],
        description="The media types of bodies that are taken; others get 415. Default: all, or `application/json` "
        "where there is a `body_schema`.",
    )
    max_body: Size | None = Field(
        None,
        description="The largest body, if it is less than `GATEWAY_MAX_BODY`. Default where there is a `body_schema`: "
        "256KiB.",
    )
    body_schema: SchemaOrFile = Field(
        None,
        description="A JSON Schema for bodies, or its file, whose path begins at the route file. A body that "
        "breaks it gets 422.",
    )
    headers: list[Header] | None = Field(
        None, description="The request headers that travel to the service; `{name: X-Tenant, as: tenant}` renames one."
    )
    send_headers: dict[str, str] = Field({}, description="Headers that the service gets with every request.")
    timeout: Duration | None = Field(None, description="How long a reply may take where the caller asks nothing.")
    max_timeout: Duration | None = Field(None, description="The most that a caller can ask for.")
    max_in_flight: int | None = Field(
        None,
        ge=1,
        description="Requests in flight a worker, for this route; more get 503. Default: half of what other routes "
        "leave of `GATEWAY_MAX_IN_FLIGHT`, or all where there is one route.",
    )
    reply: ReplyModel = Field(ReplyModel.model_construct(), description="How the reply becomes the response.")
    cors: RouteCors = Field(
        NO_CORS, description="Which pages of other origins may call, or `none`. Default: `cors` of the file."
    )
    # Policies: each needs a row in POLICIES as well.
    # Never null where it is set: a list whose lines are all comments must not let everybody in.
    allow_from: Networks = Field(
        None,  # type: ignore[arg-type]
        description="IP addresses and networks, such as `10.0.0.0/8`, whose requests are taken. Others get 403. "
        "Default: all.",
    )
    auth: Auth = Field(
        None,  # type: ignore[assignment]
        description="Who may call: a scheme of `auth` by its name, a mapping of `any`, `scopes` and `claims`, or "
        "`none` for everybody. Required where the file declares `auth`.",
    )
    identity: dict[str, IdentitySource] = Field(
        {},
        description="Headers that tell the service who calls: `sub`, `scopes`, `ip`, or a claim such as "
        "`claims.tenant`. No caller can write them.",
    )
    rate_limit: RateLimits = Field(
        None,  # type: ignore[arg-type]
        description="The limits of `rate_limits`, one or a list, that requests are counted by, or `none`. More get "
        "429.",
    )
    content_length: Literal["optional", "required"] = Field(
        "optional",
        description="Whether a body must come with a `Content-Length`. With `required` one in chunks gets 411.",
    )


@dataclass(frozen=True, slots=True)
class Declared:
    """What routes refer to by name: the schemes of `auth`, and the counters of `rate_limits`."""

    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)


NOTHING = Declared()

POLICIES: Sequence[tuple[str, Callable[["RouteModel", Declared], Iterable[Policy]]]] = (
    ("allow_from", lambda route, _: [AllowFrom(route.allow_from)]),
    ("rate_limit", lambda route, declared: _make_limits(route, declared, before_auth=True)),
    ("auth", lambda route, declared: make_auth(route.auth, declared.schemes)),
    ("rate_limit", lambda route, declared: _make_limits(route, declared, before_auth=False)),
    ("content_length", lambda *_: [RequireLength()]),
)
"""What makes the policies of a key that a route sets to anything but its default, and of what the file declares. Routes
ask theirs in this order. Limits that need not know who calls come before `auth`, so that they count wrong keys too."""


class RouteModel(DefaultsModel):
    """One way from HTTP to a subject."""

    name: Annotated[str, check_with(check_name)] = Field(description="Unique; stands in logs and metrics.")
    method: Methods = Field(description="One, or a list. HEAD comes with GET, and OPTIONS with all.")
    path: Annotated[str, check_with(parse_path)] = Field(
        description="Literal segments and parameters: `/orders/{id}`. A tail at the end, `/files/{path...}`, takes "
        "the rest of the path."
    )
    subject: Annotated[str, check_with(parse_subject)] = Field(
        description="Literal tokens and parameters: `orders.{id}.get`. A parameter is one token, and a tail at the "
        "end, `files.{path...}`, one or more."
    )


FREE = "x-"
"""What keys at the top of a file begin with that are left alone: a place for anchors, and for other tools."""


class FileModel(StrictModel):
    """A route file of nats-http-gateway."""

    version: Literal[1] = Field(description="The version of this format.")
    info: InfoModel = Field(InfoModel.model_construct(), description="What the API is called in its documentation.")
    servers: list[ServerModel] = Field(
        [], description="Where callers find the gateway, for the documentation. Default: the host of the document."
    )
    tags: list[TagModel] = Field([], description="What the tags of routes mean, in their order in the documentation.")
    schemas: dict[SchemaName, SchemaOrFile] = Field(
        {}, description="JSON Schemas, or their files, by the names that `$ref: '#/schemas/NAME'` gives them anywhere."
    )
    auth: dict[SchemeName, SchemeModel] = Field(
        {}, min_length=1, description="How callers say who they are: schemes, by the names that routes call them by."
    )
    rate_limits: dict[LimitName, LimitModel] = Field(
        {}, min_length=1, description="How many requests are taken: limits, by the names that routes call them by."
    )
    cors: CorsModel = Field(
        NO_CORS, description="Which pages of other origins may call the routes, and read the gateway's own pages."
    )
    defaults: DefaultsModel = Field(
        DefaultsModel.model_construct(), description="Values for every route that does not set them."
    )
    prefix: Annotated[str, check_with(parse_prefix)] | None = Field(
        None, description="What all paths of this file, and of those that it includes, begin with: `/v1`."
    )
    include: list[Annotated[str, Field(min_length=1)]] = Field(
        [],
        min_length=1,
        description="Other route files, or patterns such as `pets/*.yaml`, from the folder of this one.",
    )
    routes: list[RouteModel] = Field([], min_length=1, description="The routes, unless all are in other files.")


def to_route(model: RouteModel, schemas: SharedSchemas, declared: Declared = NOTHING) -> Route:
    """The route, whose schemas may refer to those, or be their files, and whose policies to what is declared. Raises
    RouteError."""
    policies = tuple(_make_policies(model, declared))
    in_path = list_parameters(model.path.split("/"))
    passed = REPLY_HEADERS if model.reply.headers is None else tuple(model.reply.headers)
    return Route(
        name=model.name,
        methods=tuple(model.method),
        path=model.path,
        subject=model.subject,
        summary=model.summary,
        description=model.description,
        tags=tuple(model.tags),
        deprecated=model.deprecated,
        parameters=tuple(_to_parameter(name, rules, in_path) for name, rules in model.params.items()),
        query=model.query,
        payload=model.payload,
        accepts=tuple(model.accepts),
        max_body=model.max_body,
        body_schema=schemas.resolve(model.body_schema),
        headers=REQUEST_HEADERS if model.headers is None else tuple(header.name for header in model.headers),
        renamed=tuple((header.name, header.as_) for header in model.headers or () if header.name != header.as_),
        send_headers=tuple(model.send_headers.items()),
        identity=tuple(model.identity.items()),
        timeout=model.timeout,
        max_timeout=model.max_timeout,
        max_in_flight=model.max_in_flight,
        policies=(*make_cors(model.cors, passed, model.reply.set_headers), *policies),
        reply=_to_reply(model.reply, passed, schemas),
        schemas=schemas,
    )


def _make_policies(model: RouteModel, declared: Declared) -> Iterator[Policy]:
    for key, make in POLICIES:
        if getattr(model, key) != RouteModel.model_fields[key].default:
            yield from make(model, declared)


def _make_limits(model: RouteModel, declared: Declared, *, before_auth: bool) -> Iterator[Policy]:
    return make_rate_limits(model.rate_limit, declared.counters, route=model.name, before_auth=before_auth)


def _to_parameter(name: str, rules: ParameterModel, in_path: Sequence[str]) -> Parameter:
    given = rules.model_dump(exclude={"location", "enum"})
    location = rules.location or ("path" if name in in_path else "query")
    enum = None if rules.enum is None else tuple(rules.enum)
    return Parameter(name=name, location=location, enum=enum, **given)


def _to_reply(rules: ReplyModel, passed: tuple[str, ...], schemas: SharedSchemas) -> ReplyRules:
    given = rules.model_dump(exclude={"headers", "set_headers", "errors", "schema_", "statuses", "validate_"})
    return ReplyRules(
        headers=passed,
        set_headers=tuple(rules.set_headers.items()),
        errors={int(code) if code.isdigit() else code: status for code, status in (rules.errors or {}).items()},
        schema=schemas.resolve(rules.schema_),
        statuses={int(status): _to_status(told, schemas) for status, told in rules.statuses.items()},
        validate=rules.validate_,
        **given,
    )


def _to_status(rules: StatusModel, schemas: SharedSchemas) -> StatusRules:
    schema = schemas.resolve(rules.schema_)
    return StatusRules(description=rules.description, schema=schema, headers=tuple(rules.headers.items()))
