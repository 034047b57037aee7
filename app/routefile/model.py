"""The keys of the route file: their types and their meaning. docs/routes.md and routes.schema.json come from here.

Only shapes are checked here. `Route` and `Parameter`, which `to_route` makes, check the meaning.
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
from ..formats.clusters import MAIN
from ..formats.fields import REPLY_HEADERS, REQUEST_HEADERS
from ..formats.shared_schemas import SharedSchemas
from ..routing.kinds import IDEMPOTENCY_KEY, check_stream_name
from ..routing.paths import list_parameters, parse_path, parse_prefix
from ..routing.routes import Route
from ..routing.words import check_name, parse_subject
from .about import InfoModel, ServerModel, TagModel
from .auth import Auth, SchemeModel, make_auth
from .cors import NO_CORS, CorsModel, RouteCors, make_cors
from .discover import Discover
from .kinds import choose_kind
from .names import IdentitySource, SchemeName
from .parameters import ParameterModel, to_parameter
from .rate_limits import LimitModel, LimitName, RateLimits, make_rate_limits
from .replies import ManyRepliesModel, ReplyModel, to_reply
from .signatures import Secrets, SignatureModel, make_signature
from .streams import SinceModel
from .strict import StrictModel, check_with
from .types import Duration, Header, Methods, Networks, SchemaName, SchemaOrFile, Size


class DefaultsModel(StrictModel):
    """Values for every route that does not set them itself: any key of a route except `name`, `method`, `path`,
    `subject` and others that choose what a request becomes. The keys of `params`, `send_headers`, `identity`, `reply`,
    `reply.errors`, `reply.set_headers` and `reply.statuses` are joined with those of the route. Any other value of the
    route replaces the default."""

    summary: str = Field("", description="A short title, for the documentation.")
    description: str = Field("", description="For the documentation; CommonMark.")
    tags: list[str] = Field([], description="Groups of routes in the documentation.")
    deprecated: bool = Field(False, description="Marks the route in the documentation.")
    params: dict[str, ParameterModel] = Field(
        {}, description="The parameters, by name. You need not list those of the path."
    )
    nats: str = Field(
        MAIN,
        description="The NATS cluster or account that has the subject: a name of `GATEWAY_NATS`, or `main` for that of "
        "`NATS_URL`. Default: `main`.",
    )
    query: Literal["ignore", "strict"] = Field(
        "ignore", description="With `strict`, an undeclared query parameter gets 422. With `ignore`, it is not read."
    )
    payload: Literal["none", "body", "params", "merge"] | None = Field(
        None,
        description="The payload that the gateway sends. `none`: nothing. `body`: the request body, byte for byte. "
        "`params`: a JSON object of all parameters. `merge`: the JSON object of the body with the parameters in it. "
        "Default: `body` for POST, PUT and PATCH, else `none`.",
    )
    accepts: list[str] = Field(
        [],
        description="The media types of bodies that are accepted; others get 415. Default: all, or `application/json` "
        "with `body_schema` or `payload: merge`.",
    )
    max_body: Size | None = Field(
        None,
        description="The largest body; more gets 413. It can't be more than `GATEWAY_MAX_BODY`, which is the default. "
        "With `body_schema` or `payload: merge` the default is at most 256KiB.",
    )
    body_schema: SchemaOrFile = Field(
        None,
        description="A JSON Schema for bodies, or the path of its file, relative to the folder of the route file. A "
        "body that breaks it gets 422.",
    )
    headers: list[Header] | None = Field(
        None,
        description="The request headers that travel to the service. `{name: X-Tenant, as: tenant}` gives a header "
        "another name on the NATS side. Default: `traceparent`, `tracestate` and `x-request-id`.",
    )
    send_headers: dict[str, str] = Field({}, description="Headers that the service gets with every request.")
    timeout: Duration | None = Field(
        None,
        description="How long a reply may take if the caller sends no `X-Request-Timeout`. Default: `GATEWAY_TIMEOUT`.",
    )
    max_timeout: Duration | None = Field(
        None,
        description="The most that a caller can ask for with `X-Request-Timeout`. Default: `GATEWAY_MAX_TIMEOUT`.",
    )
    max_in_flight: int | None = Field(
        None,
        ge=1,
        description="The most requests in flight for this route, in each worker. More get 503. Default: half of the "
        "places of `GATEWAY_MAX_IN_FLIGHT` that other routes leave, or all places if there is only one route.",
    )
    idempotency_key: Literal["optional", "required"] = Field(
        "optional",
        description="With `stream`: whether a request must have an `Idempotency-Key`. A message with the same key is "
        "stored once, within the duplicate window of the stream.",
    )
    idempotency_header: str = Field(
        IDEMPOTENCY_KEY,
        description="With `stream`: the request header that has this key. Webhooks often have their own.",
    )
    reply: ReplyModel = Field(ReplyModel.model_construct(), description="How the reply becomes the response.")
    cors: RouteCors = Field(
        NO_CORS, description="Which pages of other origins may call it, or `none`. Default: `cors` of the file."
    )
    # Policies: each needs a row in POLICIES as well.
    # Null is an error: a list whose lines are all comments must not admit everybody.
    allow_from: Networks = Field(
        None,  # type: ignore[arg-type]
        description="IP addresses and networks, one or a list, such as `10.0.0.0/8`. Requests from elsewhere get 403. "
        "Default: all callers.",
    )
    auth: Auth = Field(
        None,  # type: ignore[assignment]
        description="Who may call: the name of a scheme, a mapping of `any`, `scopes` and `claims`, or `none` for "
        "everybody. Required if the file has schemes.",
    )
    identity: dict[str, IdentitySource] = Field(
        {},
        description="Headers that tell the service who calls. Values: `sub`, `scopes`, `ip`, or a claim such as "
        "`claims.tenant`. No caller can write these headers.",
    )
    rate_limit: RateLimits = Field(
        None,  # type: ignore[arg-type]
        description="The limits of `rate_limits` that count requests, one or a list, or `none`. Requests above a limit "
        "get 429.",
    )
    signature: SignatureModel | None = Field(
        None,
        description="How senders sign bodies, as webhooks do: a body without a valid signature gets 401. The default "
        "of `max_body` is then at most 256KiB, and it can be at most 4MiB.",
    )
    content_length: Literal["optional", "required"] = Field(
        "optional",
        description="With `required`, a body must come with a `Content-Length`; a body in chunks gets 411.",
    )


@dataclass(frozen=True, slots=True)
class Declared:
    """What routes refer to: the schemes of `auth` and the counters of `rate_limits`, by name, and the secrets of
    signatures, by file."""

    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)


NOTHING = Declared()

POLICIES: Sequence[tuple[str, Callable[["RouteModel", Declared], Iterable[Policy]]]] = (
    ("allow_from", lambda route, _: [AllowFrom(route.allow_from)]),
    ("rate_limit", lambda route, declared: _make_limits(route, declared, before_auth=True)),
    ("auth", lambda route, declared: make_auth(route.auth, declared.schemes)),
    ("rate_limit", lambda route, declared: _make_limits(route, declared, before_auth=False)),
    ("signature", lambda route, declared: make_signature(route.signature, declared.secrets)),
    ("content_length", lambda *_: [RequireLength()]),
)
"""For each policy its key, and a function that makes the policies of a route. It is called if the route sets the key to
anything but its default. Requests pass the policies in this order. Limits that do not depend on the caller's identity
come before `auth`, so that they count requests with wrong keys too."""


class RouteModel(DefaultsModel):
    """One route: the HTTP requests that it matches, and the NATS subject that they go to."""

    name: Annotated[str, check_with(check_name)] = Field(
        description="A unique name. Logs and metrics show it, and it is the `operationId`."
    )
    method: Methods = Field(description="One method, or a list. HEAD comes with GET, OPTIONS with all.")
    path: Annotated[str, check_with(parse_path)] = Field(
        description="Each segment is a literal or one whole parameter: `/orders/{id}`. The first is a literal. The "
        "last may be a tail, which takes the rest of the path: `/files/{path...}`."
    )
    subject: Annotated[str, check_with(parse_subject)] | None = Field(
        None,
        description="The subject of the requests, unless the route has `publish`. Each token is a literal or one whole "
        "parameter: `orders.{id}.get`. The first is a literal. The "
        "last may be the tail of the path, one token or more: `files.{path...}`.",
    )
    replies: ManyRepliesModel | None = Field(
        None,
        description="With `subject`: many services reply to one request. The response is a JSON array of all replies, "
        "or a stream of them.",
    )
    publish: Annotated[str, check_with(parse_subject)] | None = Field(
        None,
        description="Instead of `subject`: the subject of a message that nobody replies to. The response is 202 once "
        "the NATS server has taken it.",
    )
    subscribe: Annotated[str, check_with(parse_subject)] | None = Field(
        None,
        description="Instead of `subject`: the subject of messages that the caller gets as server-sent events, for as "
        "long as it stays.",
    )
    event_header: str | None = Field(
        None, description="With `subscribe`: the header of a message whose value is the type of its event."
    )
    encoding: Literal["text", "base64"] = Field(
        "text", description="With `subscribe`: `base64` writes each payload in Base64, since events are text."
    )
    max_duration: Duration | None = Field(
        None, description="With `subscribe`: when a stream ends, so that the caller connects again. Default: `10m`."
    )
    max_streams: int | None = Field(
        None, ge=1, description="With `subscribe`: the most open streams of one address, in each worker."
    )
    stream: Annotated[str, check_with(check_stream_name)] | None = Field(
        None,
        description="With `publish`: the JetStream stream that must store the message. The response is 201 once the "
        "stream has acknowledged it. With `subscribe`: the stream that has the messages, so that a caller can go on "
        "where it was.",
    )
    start: Literal["new", "all", "last", "last_per_subject"] | SinceModel = Field(
        "new",
        description="With `subscribe` and `stream`: where a caller begins that does not say where it was. `new`: with "
        "new messages. `all`: with the first one of the stream. `last`: with the last one. `last_per_subject`: with "
        "the last one of each subject, if `subscribe` has a wildcard. `{since: 10m}`: with those of this time.",
    )


FREE = "x-"
"""The gateway ignores keys at the top of a file that begin with this. They are for anchors, and for other tools."""


class FileModel(StrictModel):
    """A route file of nats-http-gateway."""

    version: Literal[1] = Field(description="The version of this format.")
    info: InfoModel = Field(InfoModel.model_construct(), description="The name of the API in its documentation.")
    servers: list[ServerModel] = Field(
        [], description="Where callers find the gateway, for the documentation. Default: the host of the document."
    )
    tags: list[TagModel] = Field(
        [], description="The meaning of the tags of routes, and their order in the documentation."
    )
    schemas: dict[SchemaName, SchemaOrFile] = Field(
        {},
        description="JSON Schemas, or paths of their files, by name. Any schema may refer to them: "
        "`$ref: '#/schemas/NAME'`.",
    )
    auth: dict[SchemeName, SchemeModel] = Field(
        {}, min_length=1, description="How callers say who they are: schemes, by name. Routes refer to these names."
    )
    rate_limits: dict[LimitName, LimitModel] = Field(
        {}, min_length=1, description="How many requests are allowed: limits, by name. Routes refer to these names."
    )
    cors: CorsModel = Field(
        NO_CORS, description="Which pages of other origins may call the routes, and read the gateway's own pages."
    )
    defaults: DefaultsModel = Field(
        DefaultsModel.model_construct(), description="Values for every route that does not set them itself."
    )
    discover: Discover | None = Field(
        None,
        description="Services that describe themselves on NATS (ADR-32): their names, one or a list, or a mapping. "
        "Their routes come and go with them.",
    )
    prefix: Annotated[str, check_with(parse_prefix)] | None = Field(
        None, description="The beginning of all paths of this file, and of the files that it includes: `/v1`."
    )
    include: list[Annotated[str, Field(min_length=1)]] = Field(
        [],
        min_length=1,
        description="Other route files, or patterns such as `pets/*.yaml`, relative to the folder of this file.",
    )
    routes: list[RouteModel] = Field(
        [], min_length=1, description="The routes, unless all are in other files, or of services."
    )


def to_route(model: RouteModel, schemas: SharedSchemas, declared: Declared = NOTHING) -> Route:
    """The route of a model. `schemas` has the shared schemas, and those of files, that the route names. `declared` has
    the schemes and limits that it names. Raises RouteError."""
    subject, kind = choose_kind(model)
    policies = tuple(_make_policies(model, declared))
    in_path = list_parameters(model.path.split("/"))
    passed = REPLY_HEADERS if model.reply.headers is None else tuple(model.reply.headers)
    return Route(
        name=model.name,
        methods=tuple(model.method),
        path=model.path,
        subject=subject,
        kind=kind,
        nats=model.nats,
        summary=model.summary,
        description=model.description,
        tags=tuple(model.tags),
        deprecated=model.deprecated,
        parameters=tuple(to_parameter(name, rules, in_path) for name, rules in model.params.items()),
        query=model.query,
        payload=model.payload,
        accepts=tuple(model.accepts),
        max_body=model.max_body,
        body_schema=schemas.resolve(model.body_schema),
        headers=REQUEST_HEADERS if model.headers is None else tuple(header.name for header in model.headers),
        renamed=tuple((header.name, header.as_) for header in model.headers or () if header.name != header.as_),
        send_headers=tuple(model.send_headers.items()),
        identity=tuple(model.identity.items()),
        timeout=model.replies.within if model.replies and model.replies.within else model.timeout,
        max_timeout=model.max_timeout,
        max_in_flight=model.max_in_flight,
        policies=(*make_cors(model.cors, passed, model.reply.set_headers), *policies),
        reply=to_reply(model.reply, passed, schemas),
        schemas=schemas,
    )


def _make_policies(model: RouteModel, declared: Declared) -> Iterator[Policy]:
    for key, make in POLICIES:
        if getattr(model, key) != RouteModel.model_fields[key].default:
            yield from make(model, declared)


def _make_limits(model: RouteModel, declared: Declared, *, before_auth: bool) -> Iterator[Policy]:
    return make_rate_limits(model.rate_limit, declared.counters, route=model.name, before_auth=before_auth)
