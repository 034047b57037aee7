"""Turns a NATS reply into an HTTP status, headers and a body. Pure.

A service needs no HTTP: a payload is enough. A service may set the status with a reply header `Http-Status: 201`, set
headers that the route's allow-list has, or answer with an error as in ADR-32 of NATS.
"""

from collections.abc import Mapping
from typing import Protocol

from pydantic_core import from_json

from ..edge.request import Request
from ..errors import MAX_FACT, BadReply, Delivered, GatewayError, InvalidBody, ServiceError, Timeout
from ..formats.fields import Pair, add_fields
from ..formats.messages import ReplyBlock, parse_block
from ..formats.units import format_duration
from ..observe.record import clean_text
from ..routing.bodies import BodyRules
from ..routing.routes import Route
from .responses import Fields, Response, Unchecked, encode_json

MAX_GUESSED = 64 * 1024  # bytes of a reply that is parsed to find its type

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
# If the gateway writes the body itself, these headers of the service do not apply: they describe the service's body.
_OF_THE_BODY = frozenset(
    b"content-type content-language content-disposition content-encoding content-location content-range cache-control "
    b"etag last-modified".split()
)
# A service may read these request headers, but they do not choose its content. So `Vary` need not name them (RFC 9110
# §12.5.5). Caches have their own rules for preconditions and ranges (§13, §14), do not share answers to credentials
# (§11.6.2), and do not answer requests with a body. The last four differ in each request.
_NOT_SELECTING = frozenset(
    b"if-match if-none-match if-modified-since if-unmodified-since if-range range authorization content-type "
    b"content-encoding content-language traceparent tracestate x-request-id x-request-timeout".split()
)
_NO_BLOCK = ReplyBlock(None, ())


class Reader(Protocol):
    """Turns the outcome of what was sent into the response, as the kind of the route wants it."""

    delivered: Delivered
    """What an answer without a failure says about delivery."""

    def read(self, block: bytes, payload: bytes, prefers_text: bool, /) -> Response:
        """The Response for a reply, without the fields that every response gets. `block` is the header block, or empty.
        Raises a GatewayError if the reply means a failure."""

    def explain(self, error: GatewayError, request: Request, timeout: float, /) -> GatewayError:
        """The failure as this kind of route tells it. `timeout` is in seconds."""


class ReplyReader:
    """Reads the replies of the service of one route, by its rules. `Vary` tells caches which request headers may have
    chosen the content: the header parameters, the other headers that travel to the service, and `Accept` if the route
    wraps texts."""

    delivered: Delivered = "yes"

    __slots__ = (
        "_max_bytes",
        "_media_type",
        "_plain",
        "_route",
        "_selecting",
        "_set",
        "_status",
        "_text",
        "_wrapped",
        "_wraps",
    )

    def __init__(self, route: Route, media_type: str | None = None) -> None:
        """`media_type` is the type of replies without a `Content-Type`, instead of that of the route."""
        self._route = route
        self._media_type = (media_type or route.reply.media_type).encode("ascii")
        self._status = route.reply.status
        self._max_bytes = route.reply.max_bytes
        self._wraps = route.reply.wrap is not None
        self._selecting = _find_selecting(route)
        self._set = {name.lower().encode("ascii"): value.encode("ascii") for name, value in route.reply.set_headers}
        self._plain = self._finish(self._status, _choose_headers(_NO_BLOCK, route, self._selecting, self._media_type))
        self._wrapped, self._text = (
            self._finish(self._status, _choose_headers_of_text(_NO_BLOCK, route, self._selecting, kind))
            for kind in (_JSON, _TEXT)
        )

    def read(self, block: bytes, payload: bytes, prefers_text: bool, /) -> Response:
        """As in Reader. Raises BadReply, or ServiceError for an error without a payload."""
        if self._max_bytes is not None and len(payload) > self._max_bytes:
            raise BadReply(f"The service's reply has {len(payload)} bytes; this route passes on {self._max_bytes}.")
        if block:
            return self._read_block(_parse(block), payload, prefers_text)
        if not self._wraps:
            return Response(self._status, self._plain, payload)
        body = _wrap(payload, prefers_text)
        return Response(self._status, self._text if prefers_text else self._wrapped, body)

    def explain(self, error: GatewayError, _request: Request, timeout: float, /) -> GatewayError:
        """The error, with the timeout in its text."""
        if isinstance(error, Timeout) and error.delivered == "unknown":
            return Timeout(f"The service did not reply within {format_duration(timeout)}.")
        return error

    def _read_block(self, fields: ReplyBlock, payload: bytes, prefers_text: bool) -> Response:
        route = self._route
        code = fields.first(b"nats-service-error-code")
        if code is not None or fields.first(b"nats-service-error") is not None:
            return _to_http_error(code, fields, payload, route, self._selecting)
        status = _read_status(fields, route)
        if not self._wraps:
            headers = _choose_headers(fields, route, self._selecting, self._media_type)
            return Response(status, self._finish(status, headers), payload)
        body = _wrap(payload, prefers_text)
        headers = _choose_headers_of_text(fields, route, self._selecting, _TEXT if prefers_text else _JSON)
        return Response(status, self._finish(status, headers), body)

    def _finish(self, status: int, headers: tuple[Pair, ...]) -> Fields:
        """Add `set_headers` of the route to a response below 400. They replace headers of the reply."""
        if not self._set or status >= 400:
            return Fields(headers)
        return Fields((*(pair for pair in headers if pair[0] not in self._set), *self._set.items()))


class GuessingReader:
    """Reads the replies of a route with `content_type: auto`: a reply without a `Content-Type` is JSON if it can be
    parsed, else text if it is UTF-8, else bytes. A reply of more than MAX_GUESSED is JSON if it begins and ends so."""

    delivered: Delivered = "yes"

    __slots__ = ("_bytes", "_json", "_text")

    def __init__(self, route: Route) -> None:
        types = (_JSON, _TEXT, b"application/octet-stream")
        self._json, self._text, self._bytes = (ReplyReader(route, kind.decode("ascii")) for kind in types)

    def read(self, block: bytes, payload: bytes, prefers_text: bool, /) -> Response:
        """As in ReplyReader."""
        return self._choose(payload).read(block, payload, prefers_text)

    def explain(self, error: GatewayError, request: Request, timeout: float, /) -> GatewayError:
        """As in ReplyReader."""
        return self._bytes.explain(error, request, timeout)

    def _choose(self, payload: bytes) -> ReplyReader:
        if _is_json(payload):
            return self._json
        try:
            payload.decode()
        except UnicodeDecodeError:
            return self._bytes
        return self._text if payload else self._bytes


def _is_json(payload: bytes) -> bool:
    if len(payload) > MAX_GUESSED:
        return payload[:1] + payload[-1:] in (b"{}", b"[]")
    try:
        from_json(payload, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def check_reply(response: Response, rules: Mapping[int, BodyRules]) -> Response:
    """Check a response by the schema of its status. Returns the response, or an Unchecked if the check would take too
    long here. Raises BadReply. Errors are not checked."""
    chosen = rules.get(response.status)
    if chosen is None or response.slug is not None:
        return response
    try:
        check = chosen.check_body(response.body)
    except InvalidBody as error:
        raise to_bad_reply(error) from None
    return response if check is None else Unchecked(response.status, response.fields, response.body, check=check)


def to_bad_reply(verdict: GatewayError) -> BadReply:
    """The error for a reply that breaks its schema, or could not be checked. The caller does not learn the fault; it is
    in `facts`, for the log."""
    if not isinstance(verdict, InvalidBody):
        return BadReply("The service's reply could not be checked in time.")
    error = BadReply("The service's reply is not what its route declares.")
    error.facts = tuple(("reply_fault", f"#{pointer}: {fault}"[:MAX_FACT]) for pointer, fault in verdict.errors[:1])
    return error


def _parse(block: bytes) -> ReplyBlock:
    try:
        fields = parse_block(block)
    except ValueError as error:
        raise BadReply(f"The service's reply can't be used: {error}.") from None
    if fields.status is not None:
        raise BadReply(f"The service's reply has the NATS status {fields.status}, which is not a reply to a request.")
    return fields


def _read_status(fields: ReplyBlock, route: Route) -> int:
    text = fields.first(b"http-status")
    if text is None:
        return route.reply.status
    if len(text) == 3 and text.isdigit() and 200 <= int(text) <= 599:
        return int(text)
    raise BadReply("The service's reply has a header Http-Status that is not a number from 200 to 599.")


def _find_selecting(route: Route) -> tuple[bytes, ...]:
    parameters = [parameter.name for parameter in route.parameters if parameter.location == "header"]
    names = (name.encode("ascii") for name in (*parameters, *route.headers))
    return tuple(name for name in names if name.lower() not in _NOT_SELECTING)


def _choose_headers(
    fields: ReplyBlock, route: Route, selecting: tuple[bytes, ...], declared: bytes
) -> tuple[Pair, ...]:
    allowed = route.reply_allow.names
    given = fields.first(b"content-type") if b"content-type" in allowed else None
    return (*_pass_headers(fields, route, selecting), (b"content-type", declared if given is None else given))


def _choose_headers_of_text(
    fields: ReplyBlock, route: Route, selecting: tuple[bytes, ...], content_type: bytes
) -> tuple[Pair, ...]:
    return (*_pass_headers(fields, route, (b"Accept", *selecting)), (b"content-type", content_type))


def _pass_headers(fields: ReplyBlock, route: Route, selecting: tuple[bytes, ...]) -> list[Pair]:
    """The reply headers that pass, except `Content-Type`. The reply's own `Vary` is joined with `selecting`."""
    allowed = route.reply_allow.names
    headers = [pair for pair in fields.pairs if pair[0] in allowed and pair[0] != b"content-type"]
    if not selecting:
        return headers
    return add_fields(headers, [(b"vary", name) for name in selecting])


def _wrap(payload: bytes, prefers_text: bool) -> bytes:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise BadReply("The service's reply is not text in UTF-8, as this route declares.") from None
    return payload if prefers_text else b'{"message":%b}' % encode_json(text)


def _to_http_error(
    code: bytes | None, fields: ReplyBlock, payload: bytes, route: Route, selecting: tuple[bytes, ...]
) -> Response:
    status = _map_code(code, route)
    text = fields.first(b"nats-service-error") or b""
    said = (("service_error_code", _clean(code or b"")), ("service_error", _clean(text)))
    facts = tuple(fact for fact in said if fact[1])
    if payload:
        chosen = Fields(_choose_headers(fields, route, selecting, route.reply.media_type.encode("ascii")))
        return Response(status, chosen, payload, ServiceError.slug, facts=facts)
    # A problem needs no `Vary` for `selecting`: no cache stores it.
    headers = tuple(pair for pair in _pass_headers(fields, route, ()) if pair[0] not in _OF_THE_BODY)
    if status >= 500 and not route.reply.expose_errors:
        # Libraries put exception text there (nats.micro: repr(error)).
        raise ServiceError("The service answered with an error.", status=status, headers=headers, facts=facts)
    raise ServiceError(_clean(text) or None, status=status, headers=headers, facts=facts)


def _map_code(code: bytes | None, route: Route) -> int:
    # ADR-32: the code always parses as a number. Libraries accept words too. An unlisted word only means an error.
    text = (code or b"").decode("latin-1")
    if not (len(text) <= 9 and text.isascii() and text.isdigit()):
        return route.reply.errors.get(text, ServiceError.status)
    number = int(text)
    return route.reply.errors.get(number, number if 400 <= number <= 599 else ServiceError.status)


def _clean(text: bytes) -> str:
    return clean_text(text.decode("utf-8", "replace"))
