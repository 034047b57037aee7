"""Routes: each maps HTTP requests to one subject. Pure.

A declaration is checked as a whole when it is made, and its error lists all faults. The words in the key of a fault are
those of the route file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..edge.auth import Authenticate
from ..edge.policy import Policy
from ..edge.signature import Signature
from ..formats.clusters import MAIN
from ..formats.fields import REPLY_HEADERS, REQUEST_HEADERS, AllowList, allow
from ..formats.schemas import Json
from ..formats.shared_schemas import SharedSchemas
from ..formats.subjects import SubjectTemplate
from .bodies import BodyRules
from .declarations import find_faults
from .faults import Fault
from .headers import Texts
from .kinds import LAST_EVENT_ID, Kind, RequestReply, Subscribe
from .parameters import Parameter, write_value
from .paths import find_parameter, has_tail, list_parameters, parse_path
from .reader import ParameterReader
from .tokens import WRITERS, write_tail
from .words import Payload, choose_payload, parse_subject

REQUEST_REPLY = RequestReply()

_NO_ERRORS: Mapping[int | str, int] = {}
_NO_STATUSES: Mapping[int, "StatusRules"] = {}


class RouteError(ValueError):
    """A wrong declaration. `faults` has all its faults."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        super().__init__(f"route '{name}': " + "; ".join(fault.text for fault in faults))
        self.faults = tuple(faults)


AUTO = "auto"
"""The content type of a route whose replies have the type that they look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRules:
    """The documentation of replies that set this status. `headers` are names and descriptions."""

    description: str = ""
    schema: Json = None
    headers: Texts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRules:
    """How a reply becomes a response.

    - `content_type`: the media type of a reply without one. AUTO: as it looks.
    - `wrap="message"`: a text reply becomes `{"message": …}`, unless the caller prefers text/plain.
    - `headers`: the names of reply headers that pass.
    - `max_bytes`: a larger reply is a bad one.
    - `errors`: maps service error codes (ADR-32), numbers or words, to statuses.
    - `expose_errors`: callers see the service's error text with a 5xx too.
    - `set_headers`: every response below 400 has these headers. They replace headers of the reply with the same name.
    - `statuses`: the statuses that the service may set itself.
    - `schema`, `example`: for the documentation.
    - `validate`: a reply that breaks the schema of its status is a bad one.
    """

    content_type: str | None = None
    wrap: Literal["message"] | None = None
    status: int = 200
    headers: tuple[str, ...] = REPLY_HEADERS
    set_headers: Texts = ()
    max_bytes: int | None = None
    schema: Json = None
    errors: Mapping[int | str, int] = field(default_factory=lambda: _NO_ERRORS)
    expose_errors: bool = False
    example: Json = None
    statuses: Mapping[int, StatusRules] = field(default_factory=lambda: _NO_STATUSES)
    validate: bool = False

    @property
    def media_type(self) -> str:
        """The media type of a reply without a `Content-Type`, for the documentation if that is AUTO."""
        if self.content_type == AUTO:
            return "application/json"
        return self.content_type or "application/octet-stream"

    @property
    def schemas(self) -> dict[int, Json]:
        """The schemas of replies, by their status."""
        found = {self.status: self.schema, **{status: rules.schema for status, rules in self.statuses.items()}}
        return {status: schema for status, schema in found.items() if schema is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """Maps requests of one path to one subject. Raises RouteError.

    - `kind`: what a request becomes on NATS. `subject` is the subject of all kinds.
    - `nats`: the name of the NATS cluster or account that has this subject.
    - `timeout`, `max_timeout` (seconds), `max_body` (bytes), `max_in_flight` (requests): with None the gateway's own
      limit applies. With a `body_schema` and no `max_body`, CHECKED_MAX_BODY applies too.
    - `parameters`: the declared ones, and all others of the path.
    - `tail`: the name of the parameter that takes the end of the path.
    - `by_header`: the parameters that travel as headers.
    - `payload`: what the service gets. `"none"` sends an empty payload, whatever the request has. `"body"` sends the
      request body as it is, `"params"` a JSON object of the parameters, and `"merge"` the JSON object of the body with
      the parameters added. None means `"body"` for POST, PUT and PATCH, and `"none"` for other methods.
    - `query="strict"`: query parameters that are not declared are refused.
    - `headers`: travel to the service. Those in `renamed` get another name.
    - `identity`: headers, and what the gateway writes there about the caller.
    - `policies`: are asked in this order, before anything else of the request is read.
    - `schemas`: those that the schemas of the route may refer to.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    subject: str
    kind: Kind = REQUEST_REPLY
    nats: str = MAIN
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    deprecated: bool = False
    parameters: tuple[Parameter, ...] = ()
    query: Literal["ignore", "strict"] = "ignore"
    payload: Payload | None = None
    accepts: tuple[str, ...] = ()
    max_body: int | None = None
    body_schema: Json = None
    headers: tuple[str, ...] = REQUEST_HEADERS
    renamed: Texts = ()
    send_headers: Texts = ()
    identity: Texts = ()
    timeout: float | None = None
    max_timeout: float | None = None
    max_in_flight: int | None = None
    policies: tuple[Policy, ...] = ()
    reply: ReplyRules = field(default_factory=ReplyRules)
    schemas: SharedSchemas = field(default_factory=SharedSchemas)

    segments: tuple[str, ...] = field(init=False)
    tail: str | None = field(init=False)
    path_parameters: tuple[str, ...] = field(init=False)
    subject_template: SubjectTemplate = field(init=False)
    reader: ParameterReader = field(init=False)
    body_rules: BodyRules = field(init=False)
    by_header: tuple[Parameter, ...] = field(init=False)
    request_allow: AllowList = field(init=False)
    reply_allow: AllowList = field(init=False)
    reply_rules: Mapping[int, BodyRules] = field(init=False)
    """The rules that check a reply, by its status."""

    def __post_init__(self) -> None:
        faults = list(find_faults(self))
        if faults:
            raise RouteError(self.name, faults)
        template = parse_subject(self.subject)
        segments = parse_path(self.path)
        in_path = list_parameters(segments)
        tail = in_path[-1] if has_tail(segments) else None
        declared = {parameter.name: parameter for parameter in self.parameters}
        parameters = tuple(({name: Parameter(name=name) for name in in_path} | declared).values())
        schema = None if self.body_schema is None else self.schemas.compile(self.body_schema)
        by_header = tuple(parameter for parameter in parameters if parameter.header)
        merged = frozenset(parameter.name.casefold() for parameter in parameters if not parameter.header)
        taken = merged if self.payload == "merge" else None
        accepts = self.accepts or (() if schema is None and taken is None else ("application/json",))
        schemas = self.reply.schemas if self.reply.validate else {}
        keeps_encoding = "content-encoding" in {name.lower() for name in self.headers}
        for name, value in (
            ("parameters", parameters),
            ("accepts", accepts),
            ("segments", segments),
            ("path_parameters", in_path),
            ("subject_template", template),
            ("tail", tail),
            ("reader", self._make_reader(parameters, in_path, template, tail)),
            (
                "body_rules",
                BodyRules(
                    accepts, schema, taken=taken, keeps_encoding=keeps_encoding, is_signed=self.signature is not None
                ),
            ),
            ("by_header", by_header),
            ("request_allow", allow(self.headers, self.renamed)),
            ("reply_allow", allow(self.reply.headers)),
            (
                "reply_rules",
                {s: BodyRules((), self.schemas.compile(reply), keeps_encoding=False) for s, reply in schemas.items()},
            ),
        ):
            object.__setattr__(self, name, value)

    @property
    def signature(self) -> Signature | None:
        """How senders sign bodies, if they do."""
        return next((policy for policy in self.policies if isinstance(policy, Signature)), None)

    def _make_reader(
        self, parameters: Sequence[Parameter], in_path: Sequence[str], template: SubjectTemplate, tail: str | None
    ) -> ParameterReader:
        tokens = {p.name: WRITERS[p.token] for p in parameters if p.name in template.parameters}
        if template.tail is not None:
            tokens[template.tail] = write_tail
        others = [name for policy in self.policies if isinstance(policy, Authenticate) for name in policy.queries]
        if isinstance(self.kind, Subscribe) and self.kind.stream is not None:
            others.append(LAST_EVENT_ID)
        is_strict = self.query == "strict"
        return ParameterReader(parameters, path=in_path, tail=tail, tokens=tokens, is_strict=is_strict, others=others)

    @property
    def example_path(self) -> str:
        """The path with an example for each parameter, for documentation."""
        shown = {p.name: write_value(p.example) for p in self.parameters if p.example is not None}
        return "/" + "/".join(shown.get(find_parameter(segment) or "", segment) for segment in self.segments)

    def choose_payload(self, method: str) -> Payload:
        """The payload of a request with this method."""
        return choose_payload(self.payload, method)
