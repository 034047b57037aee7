"""The parts of the OpenAPI document that differ between kinds of routes. Pure."""

from ..edge.signature import Signature
from ..errors import GatewayError, IdempotencyKeyMissing, PreconditionFailed, TooManyStreams
from ..formats.schemas import Json
from ..routing.kinds import LAST_EVENT_ID, Gather, Publish, Store, Subscribe
from ..routing.routes import Route
from .components import Components

_ACCEPTED: Json = {
    "description": "The NATS server has the message. That does not say whether anybody receives it.",
}
_ENDS = ("max", "within", "stall", "end", "disconnect")
_REPLY_ERROR: Json = {
    "type": "object",
    "description": "The error of a service, or a reply that can't be used.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code"],
            "properties": {
                "code": {"type": ["integer", "string"], "description": "The code of the service, or `bad-reply`."},
                "detail": {"type": "string"},
                "data": {"description": "The payload of the error, if it has one."},
            },
        }
    },
}
_ACKNOWLEDGEMENT: Json = {
    "type": "object",
    "required": ["stream", "seq", "duplicate"],
    "properties": {
        "stream": {"type": "string"},
        "seq": {"type": "integer", "minimum": 1, "description": "The sequence in the stream."},
        "duplicate": {"type": "boolean", "description": "Whether it had been stored before."},
    },
}
_LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the caller has. The stream goes on after it.",
    "schema": {"type": "string"},
}
_LAST_EVENT_ID_IN_QUERY: Json = {
    "name": LAST_EVENT_ID,
    "in": "query",
    "description": "The same, for callers that can't send the header.",
    "schema": {"type": "string"},
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "The sequence of the last message on this subject, in quotes. With another one nothing is stored. "
    '`"0"` means that there is no message yet.',
    "schema": {"type": "string"},
}


def describe_success(route: Route, components: Components) -> dict[str, Json] | None:
    """The response, by its status. None for a route with one reply."""
    match route.kind:
        case Gather():
            media_type = route.reply.content_type or "application/json"
            return {"200": _describe_many(components.describe(route, "reply", route.reply.schema, media_type))}
        case Subscribe():
            return {
                "200": _describe_stream(components.describe(route, "reply", route.reply.schema, "application/json"))
            }
        case Publish():
            return {"202": _ACCEPTED}
        case Store(stream=stream):
            return {"201": _describe_stored(stream)}
    return None


def _describe_many(reply: Json) -> Json:
    element: Json = {"anyOf": [reply, _REPLY_ERROR]} if reply else {}
    return {
        "description": "The replies of the services, as an array once all have come, or as a stream.",
        "headers": {
            "X-Replies-Ended": {
                "description": "What ended the replies.",
                "schema": {"type": "string", "enum": [*_ENDS]},
            }
        },
        "content": {
            "application/json": {"schema": {"type": "array", "items": element}},
            "application/x-ndjson": {"schema": element},
            "text/event-stream": {"schema": element},
        },
    }


def _describe_stream(payload: Json) -> Json:
    return {
        "description": "Messages, until the caller leaves. An event `gap` says that messages may be missing, and why.",
        "content": {
            "text/event-stream": {"schema": payload},
            "application/x-ndjson": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "data": payload,
                        "event": {"type": "string"},
                        "gap": {"type": "object", "properties": {"cause": {"type": "string"}}},
                    },
                }
            },
        },
    }


def _describe_stored(stream: str) -> Json:
    example: Json = {"stream": stream, "seq": 17, "duplicate": False}
    return {
        "description": "The stream has stored the message, or had stored it before, under the same `Idempotency-Key`.",
        "headers": {"ETag": {"description": "The sequence, for `If-Match`.", "schema": {"type": "string"}}},
        "content": {"application/json": {"schema": _ACKNOWLEDGEMENT, "example": example}},
    }


def list_headers(route: Route) -> list[Json]:
    """The headers that the gateway itself reads: a signature, and those of the route's kind."""
    signed: list[Json] = [_describe_signature(route.signature)] if route.signature else []
    if isinstance(route.kind, Subscribe) and route.kind.stream is not None:
        return [_LAST_EVENT_ID, _LAST_EVENT_ID_IN_QUERY]
    if not isinstance(route.kind, Store):
        return signed
    key: Json = {
        "name": route.kind.idempotency_header,
        "in": "header",
        "required": route.kind.idempotency_key == "required",
        "description": "A new random text for each request. When a request is repeated with the same key, the message "
        "is stored only once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    return [*signed, key, _IF_MATCH]


def _describe_signature(signature: Signature) -> Json:
    return {
        "name": signature.header,
        "in": "header",
        "required": True,
        "description": f"The HMAC-SHA256 of the body, in {signature.encoding}.",
        "schema": {"type": "string"},
    }


def list_errors(route: Route) -> list[type[GatewayError]]:
    """The errors that only this kind of route has, without those of 5XX."""
    if isinstance(route.kind, Subscribe):
        return [TooManyStreams]
    if not isinstance(route.kind, Store):
        return []
    missing = [IdempotencyKeyMissing] if route.kind.idempotency_key == "required" else []
    return [*missing, PreconditionFailed]
