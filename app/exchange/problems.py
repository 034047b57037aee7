"""Makes RFC 9457 problem documents. No other module makes one. Pure."""

from collections.abc import Container
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..errors import CLOSE, Delivered, GatewayError, Headers
from ..formats.accept import prefers_html
from ..formats.html import PAGES, POLICY
from .problem_page import write_problem_page
from .responses import Fields, Response, encode_json

PROBLEM_TYPE = b"application/problem+json"
ANSWERED = "nats_http.answered"  # key of an ASGI scope: a list for the GatewayError that a page answered with
_VARY = (b"vary", b"Accept")
_POLICY = (b"content-security-policy", POLICY.encode("ascii"))
_REMEMBERED = 256  # header fields of errors
MAX_INSTANCE = 512  # characters; a longer path is left out of its problem


def build_problem(error: GatewayError, *, instance: str | None, request_id: str, root: str = "") -> dict[str, Any]:
    """The RFC 9457 document of a failure. Its `type` is a page of the gateway. `instance` is the path of the request,
    None for a request that could not be parsed. Both get the prefix `root`, the path under which the caller sees the
    gateway."""
    problem: dict[str, Any] = {
        "type": f"{root}/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": None if instance is None else root + instance,
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
    error: GatewayError,
    *,
    instance: str | None,
    request_id: str,
    route: str | None = None,
    root: str = "",
    accept: bytes | None = None,
    pages: Container[str] = PAGES,
) -> Response:
    """The response to a failure: a problem document (RFC 9457). `accept` is the `Accept` of the request. If it prefers
    HTML, the response is a page with links to `pages`. With None there is no negotiation, and no `Vary: Accept`."""
    if accept and prefers_html(accept):
        problem = build_problem(error, instance=instance, request_id=request_id, root=root)
        body, fields = (
            write_problem_page(problem, root=root, pages=pages).encode("utf-8"),
            _make_page_fields(error.headers),
        )
    else:
        body = _write_problem(error, instance, request_id, root)
        fields = _make_fields(error.headers, accept is not None)
    return Response(  # positional arguments: keywords would cost twice as much
        error.status,
        fields,
        body,
        error.slug,
        CLOSE in error.headers,
        request_id.encode("ascii"),
        len(body),
        route,
        error.delivered,
        None,
        error.facts,
    )


def _write_problem(error: GatewayError, instance: str | None, request_id: str, root: str) -> bytes:
    """The document as JSON. In a storm of failures with the same text, only the parts that differ are encoded."""
    if error.detail is not error.cause or error.errors or error.parameters:
        return encode_json(build_problem(error, instance=instance, request_id=request_id, root=root))
    if instance is None or len(instance) > MAX_INSTANCE:
        return encode_json(build_problem(error, instance=None, request_id=request_id, root=root))
    kind = type(error)
    begin, middle, end = _cut_problem(kind, error.status, error.delivered, error.retryable, root)  # type: ignore[arg-type] # a class has a hash
    return b"".join((begin, encode_json(root + instance), middle, encode_json(request_id), end))


@lru_cache(_REMEMBERED)
def _cut_problem(
    kind: type[GatewayError], status: int, delivered: Delivered, retryable: bool, root: str
) -> tuple[bytes, bytes, bytes]:
    """The document of such a failure in three parts: before, between and after its `instance` and `request_id`."""
    error = kind()
    error.status, error.delivered, error.retryable = status, delivered, retryable
    problem = build_problem(error, instance="", request_id="", root=root)
    problem["instance"] = problem["request_id"] = 0
    begin, middle, end = encode_json(problem).split(b'":0,"')
    return begin + b'":', b',"' + middle + b'":', b',"' + end


@lru_cache(_REMEMBERED)
def _make_fields(headers: Headers, is_negotiated: bool) -> Fields:
    vary = (_VARY,) if is_negotiated else ()
    return Fields(((b"content-type", PROBLEM_TYPE), (b"cache-control", b"no-store"), *vary, *headers))


@lru_cache(_REMEMBERED)
def _make_page_fields(headers: Headers) -> Fields:
    own = (b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"), _VARY, _POLICY
    return Fields((*own, *headers))
