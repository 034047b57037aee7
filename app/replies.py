"""From a NATS reply to an HTTP status, headers and body. Pure.

A service needs no HTTP: a payload is enough. One that knows more sets the status with a reply header
`Http-Status: 201` and headers by the route's allow-list, or answers with an error in the manner of ADR-32.
"""

import json
from dataclasses import dataclass

from app.errors import BadReply, ServiceError
from app.headers import Pair, ReplyBlock, parse_block
from app.routes import Route

MAX_DETAIL = 512  # characters of a service error's text that reach the caller

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
# Where the gateway writes the body, what a service says of one is not meant.
_OF_THE_BODY = frozenset(
    b"content-type content-language content-disposition content-encoding content-location content-range cache-control "
    b"etag last-modified".split()
)
_NO_BLOCK = ReplyBlock(None, ())


@dataclass(slots=True)
class HttpReply:
    """What the service said, in HTTP's terms. `slug` is set where it said that it failed, with a payload of its own."""

    status: int
    headers: list[Pair]
    body: bytes
    slug: str | None = None


def to_http(block: bytes, payload: bytes, *, route: Route, prefers_text: bool) -> HttpReply:
    """The response that a reply asks for. Raises BadReply, or ServiceError for an error without a payload."""
    if route.reply.max_bytes is not None and len(payload) > route.reply.max_bytes:
        raise BadReply(f"The service's reply has {len(payload)} bytes; this route passes on {route.reply.max_bytes}.")
    status = route.reply.status
    fields = _NO_BLOCK
    if block:
        fields = _parse(block)
        code = fields.first(b"nats-service-error-code")
        if code is not None or fields.first(b"nats-service-error") is not None:
            return _to_http_error(code, fields, payload, route)
        status = _read_status(fields, route)
    if route.reply.wrap is None:
        return HttpReply(status, _choose_headers(fields, route), payload)
    return HttpReply(status, *_wrap(payload, fields, route, prefers_text))


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


def _choose_headers(fields: ReplyBlock, route: Route) -> list[Pair]:
    allowed = route.reply_allow.names
    headers = [pair for pair in fields.pairs if pair[0] in allowed and pair[0] != b"content-type"]
    declared = (route.reply.content_type or "application/octet-stream").encode("ascii")
    given = fields.first(b"content-type") if b"content-type" in allowed else None
    headers.append((b"content-type", declared if given is None else given))
    return headers


def _wrap(payload: bytes, fields: ReplyBlock, route: Route, prefers_text: bool) -> tuple[list[Pair], bytes]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise BadReply("The service's reply is not text in UTF-8, as this route declares.") from None
    allowed = route.reply_allow.names
    headers = [pair for pair in fields.pairs if pair[0] in allowed and pair[0] != b"content-type"]
    headers.append((b"vary", b"Accept"))  # RFC 9110 §12.5.5
    if prefers_text:
        headers.append((b"content-type", _TEXT))
        return headers, payload
    headers.append((b"content-type", _JSON))
    return headers, b'{"message":%b}' % json.dumps(text, ensure_ascii=False).encode("utf-8")


def _to_http_error(code: bytes | None, fields: ReplyBlock, payload: bytes, route: Route) -> HttpReply:
    status = _map_code(code, route)
    if payload:
        return HttpReply(status, _choose_headers(fields, route), payload, ServiceError.slug)
    headers = tuple(pair for pair in _choose_headers(fields, route) if pair[0] not in _OF_THE_BODY)
    if status >= 500 and not route.reply.expose_errors:
        # Libraries put exception text there (nats.micro: repr(error)).
        raise ServiceError("The service answered with an error.", status=status, headers=headers)
    raise ServiceError(_clean_detail(fields.first(b"nats-service-error") or b""), status=status, headers=headers)


def _map_code(code: bytes | None, route: Route) -> int:
    # ADR-32: the code always parses as a number; where it doesn't, it says no more than that it is an error.
    if not code or not code.isdigit() or len(code) > 9:
        return ServiceError.status
    number = int(code)
    return route.reply.errors.get(number, number if 400 <= number <= 599 else ServiceError.status)


def _clean_detail(text: bytes) -> str | None:
    shown = "".join(c for c in text.decode("utf-8", "replace") if c.isprintable())
    return shown[:MAX_DETAIL] or None
