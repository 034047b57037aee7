"""Routes: one declared way each from HTTP to a subject. Pure.

A declaration is checked whole when it is made, and all that is wrong with it is told at once. The words in a fault's
key are those of the route file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from ..edge.policy import Policy
from ..edge.request import BODY_METHODS
from ..formats.fields import REPLY_HEADERS, REQUEST_HEADERS, AllowList, allow
from ..formats.schemas import Json, Schema, SchemaError
from ..formats.subjects import PLACEHOLDER, SubjectTemplate
from .bodies import BodyRules, is_content_type, is_media_range
from .faults import Fault
from .headers import Texts, find_parameter_header_faults, find_reply_header_faults, find_request_header_faults
from .parameters import Parameter, write_value
from .reader import ParameterReader

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Payload = Literal["none", "body", "params"]

_LITERAL_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")  # RFC 3986 §3.3, without percent-encoding
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LAST = 16  # templates that have been parsed: a route asks for each of its own a few times
_NO_ERRORS: Mapping[int | str, int] = {}


class RouteError(ValueError):
    """A declaration is wrong; `faults` has everything that is."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        super().__init__(f"route '{name}': " + "; ".join(fault.text for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRules:
    """How a reply becomes a response.

    `wrap="message"` turns a text reply into `{"message": …}` unless the caller prefers text/plain. `headers` may pass.
    A reply of more than `max_bytes` is a bad one. `errors` maps service error codes (ADR-32), numbers or words,
    to statuses; `expose_errors` shows the text of 5xx ones as well. `set_headers` stand in every response below 400, in
    the place of the reply's own. `schema` and `example` are for the documentation.
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One declared way from HTTP to a subject. Raises RouteError.

    `timeout` and `max_timeout` are seconds, `max_body` bytes, `max_in_flight` requests; None leaves it to the gateway,
    and `max_body` with a `body_schema` to CHECKED_MAX_BODY as well. Every parameter of the path stands in `parameters`,
    described or not; `by_header` are those that travel as headers. `payload="none"` sends an empty payload whatever the
    request carries, `"body"` the request body as it is, `"params"` a JSON object of the parameters; None means the body
    for POST, PUT and PATCH, and an empty payload for the rest. `query="strict"` refuses query parameters that are not
    declared. `policies` are asked in this order before anything else is looked at.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    subject: str
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
    send_headers: Texts = ()
    timeout: float | None = None
    max_timeout: float | None = None
    max_in_flight: int | None = None
    policies: tuple[Policy, ...] = ()
    reply: ReplyRules = field(default_factory=ReplyRules)

    segments: tuple[str, ...] = field(init=False)
    path_parameters: tuple[str, ...] = field(init=False)
    subject_template: SubjectTemplate = field(init=False)
    reader: ParameterReader = field(init=False)
    body_rules: BodyRules = field(init=False)
    by_header: tuple[Parameter, ...] = field(init=False)
    request_allow: AllowList = field(init=False)
    reply_allow: AllowList = field(init=False)

    def __post_init__(self) -> None:
        faults = list(_find_faults(self))
        if faults:
            raise RouteError(self.name, faults)
        template = parse_subject(self.subject)
        tokens = frozenset(name for name in template.parameters if name)
        segments = parse_path(self.path)
        in_path = _placeholders(segments)
        declared = {parameter.name: parameter for parameter in self.parameters}
        parameters = tuple(({name: Parameter(name=name) for name in in_path} | declared).values())
        schema = None if self.body_schema is None else Schema(self.body_schema)
        accepts = self.accepts or (("application/json",) if schema else ())
        told_of_encoding = "content-encoding" in {name.lower() for name in self.headers}
        for name, value in (
            ("parameters", parameters),
            ("accepts", accepts),
            ("segments", segments),
            ("path_parameters", in_path),
            ("subject_template", template),
            ("reader", ParameterReader(parameters, path=in_path, tokens=tokens, is_strict=self.query == "strict")),
            ("body_rules", BodyRules(accepts, schema, keeps_encoding=told_of_encoding)),
            ("by_header", tuple(parameter for parameter in parameters if parameter.header)),
            ("request_allow", allow(self.headers)),
            ("reply_allow", allow(self.reply.headers)),
        ):
            object.__setattr__(self, name, value)

    @property
    def example_path(self) -> str:
        """The path with the examples of its parameters, for documentation."""
        shown = {f"{{{p.name}}}": write_value(p.example) for p in self.parameters if p.example is not None}
        return "/" + "/".join(shown.get(segment, segment) for segment in self.segments)

    def choose_payload(self, method: str) -> Payload:
        """What a request with this method sends."""
        return self.payload or ("body" if method in BODY_METHODS else "none")


def sends_body(payload: object, methods: Iterable[object]) -> bool:
    """Whether a route with this `payload` and these methods ever sends the request body."""
    return payload == "body" or (payload is None and not BODY_METHODS.isdisjoint(map(str, methods)))


@lru_cache(_LAST)
def parse_path(path: str) -> tuple[str, ...]:
    """The segments of a path template; ValueError says which is wrong and why."""
    root, *segments = path.split("/")
    if root or not segments or not _LITERAL_SEGMENT.fullmatch(segments[0]):
        raise ValueError(f"path '{path}' must begin with '/' and a literal segment")
    for segment in segments:
        if segment in (".", "..") or not (_LITERAL_SEGMENT.fullmatch(segment) or PLACEHOLDER.fullmatch(segment)):
            raise ValueError(f"path '{path}': '{segment}' is neither a literal nor a parameter such as {{id}}")
    return tuple(segments)


@lru_cache(_LAST)
def parse_subject(subject: str) -> SubjectTemplate:
    """The template of a subject; ValueError says what is wrong with it."""
    return SubjectTemplate.parse(subject)


def check_name(name: str) -> str:
    """The name; ValueError if no route can be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 of letters, digits, _ and -")
    return name


def _placeholders(segments: Sequence[str]) -> tuple[str, ...]:
    return tuple(match[1] for text in segments if (match := PLACEHOLDER.fullmatch(text)))


def _find_faults(route: Route) -> Iterator[Fault]:
    syntax = list(_find_syntax_faults(route))
    yield from syntax
    for parameter in route.parameters:
        for fault in parameter.faults:
            yield Fault(("params", parameter.name, *fault.key), fault.text)
    if not any(fault.key in (("path",), ("subject",)) for fault in syntax):
        yield from _find_parameter_faults(route)
    yield from _find_payload_faults(route)
    yield from _find_time_faults(route)
    if route.max_in_flight is not None and route.max_in_flight < 1:
        yield Fault(("max_in_flight",), "max_in_flight is 1 or more")
    yield from _find_reply_faults(route.reply)
    yield from find_request_header_faults(route.headers, route.send_headers)
    yield from find_parameter_header_faults(
        route.parameters, (*route.headers, *(name for name, _ in route.send_headers))
    )


def _find_syntax_faults(route: Route) -> Iterator[Fault]:
    for key, check, text in (
        ("name", check_name, route.name),
        ("path", parse_path, route.path),
        ("subject", parse_subject, route.subject),
    ):
        try:
            check(text)
        except ValueError as error:
            yield Fault((key,), str(error))
    if not route.methods or set(route.methods) - set(METHODS):
        yield Fault(("method",), f"methods are some of {', '.join(METHODS)}; HEAD and OPTIONS come by themselves")
    if len(set(route.methods)) < len(route.methods):
        yield Fault(("method",), "a method stands twice")


def _find_parameter_faults(route: Route) -> Iterator[Fault]:
    """How path, subject, parameters and payload fit together."""
    in_path = _placeholders(parse_path(route.path))
    in_subject = [name for name in parse_subject(route.subject).parameters if name]
    declared = {parameter.name: parameter for parameter in route.parameters}
    if len(set(in_path)) < len(in_path):
        yield Fault(("path",), f"path {route.path} has a parameter twice")
    if len(declared) < len(route.parameters) or len({name.lower() for name in declared}) < len(declared):
        yield Fault(("params",), "a parameter is declared twice")
    for name in in_subject:
        parameter = declared.get(name)
        if name not in in_path and parameter is None:
            yield Fault(("subject",), f"subject parameter '{name}' is neither in path {route.path} nor in params")
        elif parameter and (parameter.many or not parameter.is_always_there):
            yield Fault(
                ("subject",),
                f"subject parameter '{name}' must be one value that is always there: make it "
                "required, or give it a default",
            )
    for parameter in route.parameters:
        if (parameter.location == "path") != (parameter.name in in_path):
            where = "it stands in the path" if parameter.name in in_path else f"it is not in path {route.path}"
            yield Fault(("params", parameter.name, "in"), f"parameter '{parameter.name}': {where}")
    sent = {route.choose_payload(method) for method in route.methods}
    passed = {header.lower() for header in route.headers}
    for name in {**dict.fromkeys(in_path), **declared}:
        parameter = declared.get(name)
        is_header = parameter is not None and parameter.location == "header"
        goes_by_header = parameter is not None and (parameter.header or (is_header and name.lower() in passed))
        if name not in in_subject and "params" not in sent and not goes_by_header:
            hint = ", or list it in `headers`" if is_header else ""
            yield Fault(
                ("params", name) if parameter else ("path",),
                f"parameter '{name}' would go nowhere: put it into the subject, give it a `header`, or send "
                f"`payload: params`{hint}",
            )


def _find_payload_faults(route: Route) -> Iterator[Fault]:
    if not sends_body(route.payload, route.methods):
        for key, value in (
            ("accepts", route.accepts),
            ("max_body", route.max_body),
            ("body_schema", route.body_schema),
        ):
            if value not in (None, ()):
                yield Fault((key,), "this route sends no body: add `payload: body`, or leave this out")
    for index, media_range in enumerate(route.accepts):
        if not is_media_range(media_range):
            yield Fault(
                ("accepts", index), "a media type is two words in lower case such as application/json or image/*"
            )
    if (route.max_body or 0) < 0:
        yield Fault(("max_body",), "max_body is 0 or more")
    yield from _find_schema_faults(("body_schema",), route.body_schema)


def _find_schema_faults(key: tuple[str | int, ...], document: Json) -> Iterator[Fault]:
    if document is not None:
        try:
            Schema(document)
        except SchemaError as error:
            yield Fault((*key, *error.path), f"not a JSON Schema: {error}")


def _find_time_faults(route: Route) -> Iterator[Fault]:
    for key, limit in (("timeout", route.timeout), ("max_timeout", route.max_timeout)):
        if limit is not None and limit <= 0:
            yield Fault((key,), "a timeout is more than 0")
    if route.timeout is not None and route.max_timeout is not None and route.timeout > route.max_timeout:
        yield Fault(("timeout",), "it is over max_timeout")


def _find_reply_faults(reply: ReplyRules) -> Iterator[Fault]:
    if reply.content_type is not None:
        if not is_content_type(reply.content_type):
            yield Fault(
                ("reply", "content_type"), "a content type is two words such as application/json, in clean ASCII"
            )
        if reply.wrap:
            yield Fault(("reply", "content_type"), "with `wrap` the type is JSON or plain text, as the caller likes")
    if not 200 <= reply.status <= 599:
        yield Fault(("reply", "status"), "a reply status is 200 to 599")
    if (reply.max_bytes or 0) < 0:
        yield Fault(("reply", "max_bytes"), "max_bytes is 0 or more")
    for code, status in reply.errors.items():
        if isinstance(code, str) and code.isdigit():
            yield Fault(("reply", "errors", code), "this code is a number, not a text")
        if not 400 <= status <= 599:
            yield Fault(("reply", "errors", str(code)), "an error's status is 400 to 599")
    yield from find_reply_header_faults(reply.headers, reply.set_headers)
    yield from _find_schema_faults(("reply", "schema"), reply.schema)
