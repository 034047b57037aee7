"""RFC 9457 problems for what the framework answers itself, and the pages under /problems/ that `type` names."""

import html
import json
import secrets
from collections.abc import Mapping

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from ..errors import ERRORS, BadRequest, GatewayError, Internal, InvalidParameter, MethodNotAllowed, NotFound
from ..exchange.problems import ANSWERED, PROBLEM_TYPE, build_problem
from ..formats.fields import is_clean_request_id

_LISTED = sorted(ERRORS, key=lambda error: error.status)
_BY_SLUG = {error.slug: error for error in ERRORS}
# What the framework's own statuses mean; where several errors share one, the caller's mistake.
_BY_STATUS = {error.status: error for error in reversed(ERRORS)}
_DELIVERED = {
    "no": "No: the service has not run.",
    "yes": "Yes: the service has run.",
    "unknown": "Unknown: the service may or may not have run.",
}
_INTRODUCTION = (
    "<p>Why a request can fail. <i>Delivered</i> says whether the service has run. "
    'What can be requested: the <a href="/docs">API documentation</a>.</p>'
    "<table><tr><th>Status</th><th>Problem</th><th>Delivered</th></tr>"
)

_log = structlog.get_logger("nats-http.problems")


def add_problems(app: FastAPI) -> None:
    """The exception handlers and the pages."""

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
        return _answer(request, _from_status(error.status_code, error.headers or {}))

    async def answer_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        names = ", ".join(str(detail["loc"][-1]) for detail in error.errors())
        return _answer(request, InvalidParameter(f"These parameters break their rules: {names}."))

    async def answer_crash(request: Request, error: Exception) -> Response:
        _log.error("internal-error", path=request.url.path, exc_info=error)
        return _answer(request, Internal(headers=((b"connection", b"close"),)))  # uvicorn closes it after a crash

    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(Exception, answer_crash)
    app.add_route("/problems", _list_problems, include_in_schema=False)
    app.add_route("/problems/{slug}", _show_problem, include_in_schema=False)


def _from_status(status: int, headers: Mapping[str, str]) -> GatewayError:
    pairs = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
    if status == MethodNotAllowed.status:
        return MethodNotAllowed(f"This path allows {headers.get('Allow', '')}.", headers=pairs)
    return _BY_STATUS.get(status, BadRequest)(headers=pairs)


def _answer(request: Request, error: GatewayError) -> Response:
    request.scope.get(ANSWERED, []).append(error)
    asked = request.headers.get("x-request-id", "")
    request_id = asked if is_clean_request_id(asked.encode("latin-1")) else secrets.token_hex(8)
    path = (request.scope.get("raw_path") or request.url.path.encode()).decode("latin-1")
    problem = build_problem(error, instance=path, request_id=request_id)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in error.headers}
    return Response(
        json.dumps(problem, ensure_ascii=False, separators=(",", ":")).encode("utf-8"),
        error.status,
        headers={**headers, "cache-control": "no-store", "x-request-id": request_id},
        media_type=PROBLEM_TYPE.decode("ascii"),
    )


async def _list_problems(request: Request) -> Response:
    if _wants_html(request):
        return _page("Problems", _INTRODUCTION + "".join(_row(error) for error in _LISTED) + "</table>")
    return JSONResponse([_describe(error) for error in _LISTED], headers={"vary": "Accept"})


async def _show_problem(request: Request) -> Response:
    error = _BY_SLUG.get(request.path_params["slug"])
    if error is None:
        raise HTTPException(NotFound.status)
    if _wants_html(request):
        return _page(error.title, _explain(error))
    return JSONResponse(_describe(error), headers={"vary": "Accept"})


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _describe(error: type[GatewayError]) -> dict[str, object]:
    return {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "delivered": error.delivered,
        "retryable": error.retryable,
        "cause": error.cause,
        "cure": error.cure,
    }


def _row(error: type[GatewayError]) -> str:
    return (
        f'<tr><td>{error.status}</td><td><a href="/problems/{error.slug}">{html.escape(error.title)}</a></td>'
        f"<td>{error.delivered}</td></tr>"
    )


def _explain(error: type[GatewayError]) -> str:
    retry = "A retry of the same request is safe." if error.retryable else "Don't just repeat the request."
    return (
        f"<p><b>Status {error.status}</b>, <code>{error.slug}</code></p><p>{_prose(error.cause)}</p>"
        f"<h2>What to do</h2><p>{_prose(error.cure)}</p>"
        f"<h2>Was it delivered?</h2><p>{_DELIVERED[error.delivered]} {retry}</p>"
        '<p><a href="/problems">All problems</a> · <a href="/docs">API documentation</a></p>'
    )


def _prose(text: str) -> str:
    """Escaped text, what stands in backquotes as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _page(title: str, body: str) -> HTMLResponse:
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:16px/1.6 system-ui,sans-serif;'
        "max-width:42rem;margin:3rem auto;padding:0 1rem;color:#1c2733}code{background:#eef1f4;padding:.1em .3em;"
        "border-radius:3px}h2{font-size:1.1rem;margin-top:2rem}td,th{padding:.25rem 1rem .25rem 0;text-align:left}"
        f"</style><h1>{html.escape(title)}</h1>{body}</html>"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"vary": "Accept", "content-security-policy": policy})
