"""What is wrong with the declaration of a route: each part by itself, and how they fit together. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..edge.cors import Cors
from ..edge.signature import MAX_SIGNED_BODY
from ..errors import GatewayError
from ..formats.schemas import Json
from ..formats.shared_schemas import SharedSchemas
from ..formats.subjects import SubjectTemplate
from ..formats.units import format_size
from .bodies import is_content_type, is_media_range
from .faults import Fault
from .headers import (
    find_cors_header_faults,
    find_parameter_header_faults,
    find_reply_header_faults,
    find_request_header_faults,
    find_status_header_faults,
    list_sent_names,
)
from .identity import find_identity_faults
from .kinds import Subscribe, find_kind_faults
from .parameters import Parameter
from .paths import has_tail, list_parameters, parse_path
from .tokens import WRITERS, TokenWriter
from .words import METHODS, WITH_PARAMETERS, check_name, parse_subject, sends_body

if TYPE_CHECKING:
    from .routes import ReplyRules, Route


def find_faults(route: "Route") -> Iterator[Fault]:
    """All faults of a declaration, those of its parts first."""
    syntax = list(_find_syntax_faults(route))
    yield from syntax
    for parameter in route.parameters:
        for fault in parameter.faults:
            yield Fault(("params", parameter.name, *fault.key), fault.text)
    if not any(fault.key in (("path",), (route.kind.key,)) for fault in syntax):
        yield from _find_parameter_faults(route)
    yield from find_kind_faults(route)
    yield from _find_payload_faults(route)
    yield from _find_time_faults(route)
    if route.max_in_flight is not None and route.max_in_flight < 1:
        yield Fault(("max_in_flight",), "max_in_flight is 1 or more")
    yield from find_identity_faults(route)
    yield from _find_reply_faults(route.reply, route.schemas)
    if any(isinstance(policy, Cors) for policy in route.policies):
        yield from find_cors_header_faults(route.reply.headers, route.reply.set_headers)
    yield from find_request_header_faults(route.headers, route.renamed, route.send_headers)
    names = (*list_sent_names(route.headers, route.renamed), *(name for name, _ in route.send_headers))
    yield from find_parameter_header_faults(route.parameters, names)


def _find_syntax_faults(route: "Route") -> Iterator[Fault]:
    for key, check, text in (
        ("name", check_name, route.name),
        ("path", parse_path, route.path),
        (route.kind.key, parse_subject, route.subject),
    ):
        try:
            check(text)
        except ValueError as error:
            yield Fault((key,), str(error))
    if not route.methods or set(route.methods) - set(METHODS):
        yield Fault(("method",), f"methods must be from {', '.join(METHODS)}; HEAD and OPTIONS come by themselves")
    if len(set(route.methods)) < len(route.methods):
        yield Fault(("method",), "a method is listed twice")


def _find_parameter_faults(route: "Route") -> Iterator[Fault]:
    """How path, subject, parameters and payload fit together."""
    segments, template = parse_path(route.path), parse_subject(route.subject)
    in_path = list_parameters(segments)
    declared = {parameter.name: parameter for parameter in route.parameters}
    if len(set(in_path)) < len(in_path):
        yield Fault(("path",), f"path {route.path} has a parameter twice")
    if len(declared) < len(route.parameters) or len({name.lower() for name in declared}) < len(declared):
        yield Fault(("params",), "a parameter is declared twice")
    for parameter in route.parameters:
        if (parameter.location == "path") != (parameter.name in in_path):
            where = "it is in the path" if parameter.name in in_path else f"it is not in path {route.path}"
            yield Fault(("params", parameter.name, "in"), f"parameter '{parameter.name}': {where}")
        if parameter.token and parameter.name not in template.parameters:
            yield Fault(("params", parameter.name, "token"), "this parameter is not in the subject")
    yield from _find_subject_faults(route, in_path, declared)
    yield from _find_tail_faults(route.kind.key, in_path[-1] if has_tail(segments) else None, template, declared)
    yield from _find_lost_faults(route, in_path, declared, template)


def _find_subject_faults(route: "Route", in_path: Sequence[str], declared: Mapping[str, Parameter]) -> Iterator[Fault]:
    wildcard = parse_subject(route.subject).wildcard
    if wildcard and not isinstance(route.kind, Subscribe):
        yield Fault(
            (route.kind.key,),
            f"subject '{route.subject}': a request goes to one subject, and '{wildcard}' is a wildcard; a parameter "
            "such as {id} takes one token",
        )
    for name in filter(None, parse_subject(route.subject).parameters):
        parameter = declared.get(name)
        if name not in in_path and parameter is None:
            yield Fault((route.kind.key,), f"subject parameter '{name}' is neither in path {route.path} nor in params")
        elif parameter and (parameter.many or not parameter.is_always_there):
            yield Fault(
                (route.kind.key,),
                f"subject parameter '{name}' must be one value that is always there: put it into the path, make it "
                "required, or give it a default",
            )
        elif parameter and not parameter.faults:
            yield from _find_value_faults(parameter, WRITERS[parameter.token])


def _find_value_faults(parameter: Parameter, write: TokenWriter) -> Iterator[Fault]:
    """Values in the declaration that can't be in a subject."""
    if parameter.type != "string":
        return
    listed = [(("enum", index), value) for index, value in enumerate(parameter.enum or ())]
    given = [(("default",), parameter.default), (("example",), parameter.example)]
    for key, value in [*listed, *given]:
        if isinstance(value, str):
            try:
                write(value, "It")
            except GatewayError as error:
                yield Fault(("params", parameter.name, *key), error.detail.rstrip("."))


def _find_tail_faults(
    key: str, tail: str | None, template: SubjectTemplate, declared: Mapping[str, Parameter]
) -> Iterator[Fault]:
    if template.tail is not None and template.tail != tail:
        yield Fault((key,), f"the path does not end with the tail {{{template.tail}...}}")
    if tail is None:
        return
    rules = declared.get(tail)
    if rules and rules.type != "string":
        yield Fault(("params", tail, "type"), "a tail must be a string")
    if rules and rules.token and template.tail is not None:
        yield Fault(("params", tail, "token"), f"with a `token` the tail is one token: write {{{tail}}} in the subject")
    if tail in template.parameters and template.tail is None and not (rules and rules.token):
        yield Fault(
            (key,),
            f"the tail '{tail}' is more than one token: end the subject with {{{tail}...}}, or give the parameter "
            "`token: escaped`",
        )


def _find_lost_faults(
    route: "Route", in_path: Sequence[str], declared: Mapping[str, Parameter], template: SubjectTemplate
) -> Iterator[Fault]:
    """Parameters that would be read, and not be sent."""
    has_all = not WITH_PARAMETERS.isdisjoint(route.choose_payload(method) for method in route.methods)
    passed = {header.lower() for header in route.headers}
    for name in {**dict.fromkeys(in_path), **declared}:
        parameter = declared.get(name)
        is_header = parameter is not None and parameter.location == "header"
        goes_by_header = parameter is not None and (parameter.header or (is_header and name.lower() in passed))
        if name not in template.parameters and not has_all and not goes_by_header:
            hint = ", or list it in `headers`" if is_header else ""
            yield Fault(
                ("params", name) if parameter else ("path",),
                f"parameter '{name}' would go nowhere: put it into the subject, give it a `header`, or send "
                f"`payload: params` or `payload: merge`{hint}",
            )


def _find_payload_faults(route: "Route") -> Iterator[Fault]:
    if not sends_body(route.payload, route.methods):
        for key, value in (
            ("accepts", route.accepts),
            ("max_body", route.max_body),
            ("body_schema", route.body_schema),
            ("signature", route.signature),
        ):
            if value not in (None, ()):
                yield Fault((key,), "this route sends no body: add `payload: body`, or leave this out")
    if route.payload == "merge":
        yield from _find_merge_faults(route)
    for index, media_range in enumerate(route.accepts):
        if not is_media_range(media_range):
            yield Fault(
                ("accepts", index), "a media type is two words in lower case such as application/json or image/*"
            )
    if (route.max_body or 0) < 0:
        yield Fault(("max_body",), "max_body is 0 or more")
    if route.signature and (route.max_body or 0) > MAX_SIGNED_BODY:
        yield Fault(("max_body",), f"with `signature` it is at most {format_size(MAX_SIGNED_BODY)}")
    yield from _find_schema_faults(("body_schema",), route.body_schema, route.schemas)


def _find_merge_faults(route: "Route") -> Iterator[Fault]:
    if "GET" in route.methods:
        yield Fault(("payload",), "a GET has no body to add parameters to: `payload: params` sends them alone")
    schema = route.schemas.find_whole(route.body_schema)
    required = schema.get("required") if isinstance(schema, dict) else None
    merged = {parameter.name for parameter in route.parameters if not parameter.header}
    merged |= set(list_parameters(route.path.split("/"))) - {p.name for p in route.parameters}
    for name in required if isinstance(required, list) else ():
        if name in merged:
            yield Fault(("body_schema",), f"it requires '{name}', which is a parameter, and can't be in a body as well")


def _find_schema_faults(key: tuple[str | int, ...], document: Json, schemas: SharedSchemas) -> Iterator[Fault]:
    for path, text in () if document is None else schemas.find_faults(document):
        yield Fault((*key, *path), text)


def _find_time_faults(route: "Route") -> Iterator[Fault]:
    for key, limit in (("timeout", route.timeout), ("max_timeout", route.max_timeout)):
        if limit is not None and limit <= 0:
            yield Fault((key,), "a timeout is more than 0")
    if route.timeout is not None and route.max_timeout is not None and route.timeout > route.max_timeout:
        yield Fault(("timeout",), "it is over max_timeout")


def _find_reply_faults(reply: "ReplyRules", schemas: SharedSchemas) -> Iterator[Fault]:
    if reply.content_type is not None:
        if reply.content_type != "auto" and not is_content_type(reply.content_type):
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
    yield from _find_schema_faults(("reply", "schema"), reply.schema, schemas)
    yield from _find_status_faults(reply, schemas)


def _find_status_faults(reply: "ReplyRules", schemas: SharedSchemas) -> Iterator[Fault]:
    """Faults of the statuses beside `reply.status`, and of the check of replies."""
    for status, rules in reply.statuses.items():
        key = ("reply", "statuses", str(status))
        if not 200 <= status <= 599:
            yield Fault(key, "a reply status is 200 to 599")
        if status == reply.status:
            yield Fault(key, "it is the `status` of the reply, which `schema` and `set_headers` describe")
        yield from find_status_header_faults(key, rules.headers, (*reply.headers, *dict(reply.set_headers)))
        yield from _find_schema_faults((*key, "schema"), rules.schema, schemas)
    if reply.validate and reply.wrap:
        yield Fault(("reply", "validate"), "with `wrap` the reply is a text, which no schema describes")
    elif reply.validate and not reply.schemas:
        yield Fault(("reply", "validate"), "there is no `schema` to check replies by")
