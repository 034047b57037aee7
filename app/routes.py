"""Routes, and the table that finds one. Pure.

Laws:
1. A path template and a request path have the same number of segments, or they don't match: `//` and a trailing
   slash make other paths. The raw path is split first and decoded after, so `%2F` never separates.
2. A literal segment goes before a parameter. Nothing else is ambiguous: two routes that can match the same method and
   path in the same way are refused when the table is made.
3. The cost of a match depends on the number of segments, not on the number of routes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

from app.headers import REPLY_HEADERS, REQUEST_HEADERS, AllowList, is_clean_value
from app.subjects import SubjectTemplate

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_LITERAL_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_PARAMETER_SEGMENT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_OURS = frozenset(("date", "x-request-id", "x-content-type-options"))  # response headers
_NO_ERRORS: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What the documentation says of a path parameter."""

    name: str
    description: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRules:
    """How a reply becomes a response.

    `wrap="message"` turns a text reply into `{"message": …}` unless the caller prefers text/plain. `headers` may pass.
    `errors` maps service error codes (ADR-32) to statuses; `expose_errors` shows the text of 5xx ones as well.
    `example` is a reply for the documentation.
    """

    content_type: str | None = None
    wrap: Literal["message"] | None = None
    status: int = 200
    headers: tuple[str, ...] = REPLY_HEADERS
    errors: Mapping[int, int] = field(default_factory=lambda: _NO_ERRORS)
    expose_errors: bool = False
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One declared way from HTTP to a subject. ValueError on construction says what is wrong.

    `timeout` and `max_timeout` are seconds, `max_body` bytes; None leaves it to the gateway's settings.
    `payload="none"` sends an empty payload whatever the request carries, `"body"` sends the request body as it is.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    subject: str
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    payload: Literal["none", "body"] = "none"
    max_body: int | None = None
    headers: tuple[str, ...] = REQUEST_HEADERS
    timeout: float | None = None
    max_timeout: float | None = None
    reply: ReplyRules = field(default_factory=ReplyRules)

    segments: tuple[str, ...] = field(init=False)
    path_parameters: tuple[str, ...] = field(init=False)
    subject_template: SubjectTemplate = field(init=False)
    request_allow: AllowList = field(init=False)
    reply_allow: AllowList = field(init=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"route name '{self.name}' is not 1 to 64 of a-z, 0-9, _ and -")
        segments = _parse_path(self.path)
        template = SubjectTemplate.parse(self.subject)
        parameters = tuple(match[1] for text in segments if (match := _PARAMETER_SEGMENT.fullmatch(text)))
        missing = [name for name in template.parameters if name and name not in parameters]
        unknown = [parameter.name for parameter in self.parameters if parameter.name not in parameters]
        limits = [limit for limit in (self.timeout, self.max_timeout) if limit is not None]
        for wrong, why in (
            (not self.methods or set(self.methods) - set(METHODS), f"methods are some of {', '.join(METHODS)}"),
            (len(set(self.methods)) < len(self.methods), "a method stands twice"),
            (len(set(parameters)) < len(parameters), f"path {self.path} has a parameter twice"),
            (missing, f"subject parameter '{''.join(missing[:1])}' is not in path {self.path}"),
            (unknown, f"described parameter '{''.join(unknown[:1])}' is not in path {self.path}"),
            (any(limit <= 0 for limit in limits), "a timeout is more than 0"),
            ((self.max_body or 0) < 0, "max_body is 0 or more"),
        ):
            if wrong:
                raise ValueError(f"route '{self.name}': {why}")
        _check_reply(self.name, self.reply)
        for name, value in (
            ("segments", segments),
            ("path_parameters", parameters),
            ("subject_template", template),
            ("request_allow", AllowList(self.headers)),
            ("reply_allow", AllowList(self.reply.headers)),
        ):
            object.__setattr__(self, name, value)


def _check_reply(name: str, reply: ReplyRules) -> None:
    content_type = reply.content_type or ""
    for wrong, why in (
        (not 200 <= reply.status <= 599, "its reply status is not 200 to 599"),
        (any(not 400 <= status <= 599 for status in reply.errors.values()), "an error's status is not 400 to 599"),
        (
            not content_type.isascii() or not is_clean_value(content_type.encode()),
            "its content type is not clean ASCII",
        ),
        (_OURS & {header.lower() for header in reply.headers}, f"{', '.join(sorted(_OURS))} are the gateway's own"),
    ):
        if wrong:
            raise ValueError(f"route '{name}': {why}")


def _parse_path(path: str) -> tuple[str, ...]:
    root, *segments = path.split("/")
    if root or not segments or not _LITERAL_SEGMENT.fullmatch(segments[0]):
        raise ValueError(f"path '{path}' must begin with '/' and a literal segment")
    for segment in segments:
        if segment in (".", "..") or not (_LITERAL_SEGMENT.fullmatch(segment) or _PARAMETER_SEGMENT.fullmatch(segment)):
            raise ValueError(f"path '{path}': '{segment}' is neither a literal nor a parameter such as {{id}}")
    return tuple(segments)


@dataclass(slots=True)
class _Node:
    literals: dict[bytes, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    route: Route | None = None


class RouteTable:
    """Finds the route of a method and a raw path. One trie a method."""

    __slots__ = ("_tries", "routes")

    def __init__(self, routes: Iterable[Route], *, reserved: Iterable[str] = ()) -> None:
        """ValueError names the two routes that conflict, or the one that takes a path of the gateway itself.
        `reserved` are first segments."""
        self.routes = tuple(routes)
        self._tries: dict[str, _Node] = {}
        taken = frozenset(reserved)
        names: set[str] = set()
        for route in self.routes:
            if route.name in names:
                raise ValueError(f"two routes have the name '{route.name}'")
            if route.segments[0] in taken:
                raise ValueError(f"route '{route.name}': the gateway itself uses {route.path}")
            names.add(route.name)
            for method in route.methods:
                _insert(self._tries.setdefault(method, _Node()), route, method)

    def match(self, method: str, path: bytes) -> tuple[Route, list[bytes]] | None:
        """The route and the raw values of its path parameters, in order."""
        trie = self._tries.get(method)
        if trie is None:
            return None
        values: list[bytes] = []
        segments = path.split(b"/")
        route = None if segments[0] else _find(trie, segments, 1, values)
        return None if route is None else (route, values)

    def allowed(self, path: bytes) -> tuple[str, ...]:
        """The methods that match a raw path, HEAD and OPTIONS included, in the order of RFC 9110; empty for none."""
        found = [method for method in METHODS if self.match(method, path)]
        if not found:
            return ()
        return (*found[:1], "HEAD", *found[1:], "OPTIONS") if "GET" in found else (*found, "OPTIONS")


def _insert(node: _Node, route: Route, method: str) -> None:
    for segment in route.segments:
        if segment.startswith("{"):
            node.parameter = node.parameter or _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(segment.encode("ascii"), _Node())
    if node.route is not None:
        raise ValueError(f"routes '{node.route.name}' and '{route.name}' both match {method} {route.path}")
    node.route = route


def _find(node: _Node, segments: Sequence[bytes], index: int, values: list[bytes]) -> Route | None:
    if index == len(segments):
        return node.route
    segment = segments[index]
    literal = node.literals.get(unquote_to_bytes(segment) if b"%" in segment else segment)
    if literal is not None and (route := _find(literal, segments, index + 1, values)):
        return route
    if node.parameter is not None:
        values.append(segment)
        if route := _find(node.parameter, segments, index + 1, values):
            return route
        values.pop()
    return None


PACKAGED_ROUTES = (
    Route(
        name="greet",
        methods=("GET",),
        path="/greet/{name}",
        subject="greet.{name}",
        summary="Greet somebody",
        description=(
            "Sends a request with an empty payload to the subject `greet.<name>`. The reply is text; it comes as "
            "JSON, or as it is with `Accept: text/plain`."
        ),
        tags=("greet",),
        parameters=(
            Parameter(name="name", description="Who is greeted: one subject token of any script.", example="sue"),
        ),
        reply=ReplyRules(wrap="message", example="hello, sue"),
    ),
)
