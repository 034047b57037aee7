"""RFC 9457 problem documents: the only place that makes one. Pure."""

from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..errors import CLOSE, GatewayError, Headers
from .responses import Fields, Response, encode_json

PROBLEM_TYPE = b"application/problem+json"
ANSWERED = "nats_http.answered"  # in an ASGI scope: a list for the GatewayError that a page answers
_REMEMBERED = 256  # header fields of errors
MAX_INSTANCE = 512  # characters; a longer path is left out of its problem


def build_problem(error: GatewayError, *, instance: str | None, request_id: str) -> dict[str, Any]:
    """The RFC 9457 document of a failure. `type` is a page that the gateway serves; `instance` is None for a request
    that nobody could read."""
    problem: dict[str, Any] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "request_id": request_id,
        "delivered": error.delivered,
        "retryable": error.retryable,
    }
    if error.errors:  # as in the example of RFC 9457 §3: a JSON pointer as URI fragment
        problem["errors"] = [{"pointer": f"#{quote(pointer)}", "detail": detail} for pointer, detail in error.errors]
    elif error.parameters:
        problem["errors"] = [{"parameter": name, "in": place, "detail": text} for name, place, text in error.parameters]
    if instance is None or len(instance) > MAX_INSTANCE:
        del problem["instance"]
    return problem


def build_problem_response(
    error: GatewayError, *, instance: str | None, request_id: str, route: str | None = None
) -> Response:
    """The answer of a failure, as RFC 9457 has it."""
    body = encode_json(build_problem(error, instance=instance, request_id=request_id))
    return Response(
        error.status,
        _make_fields(error.headers),
        body,
        error.slug,
        CLOSE in error.headers,
        request_id.encode("ascii"),
        len(body),
        route=route,
        delivered=error.delivered,
        facts=error.facts,
    )


@lru_cache(_REMEMBERED)
def _make_fields(headers: Headers) -> Fields:
    return Fields(((b"content-type", PROBLEM_TYPE), (b"cache-control", b"no-store"), *headers))
