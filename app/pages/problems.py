"""Problems (RFC 9457) for errors that the framework finds, and the pages under `/problems/` that `type` refers to."""

import secrets
from collections.abc import Container, Mapping
from functools import partial

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from ..edge.proxies import Proxies
from ..edge.request import find_caller
from ..errors import (
    ERRORS,
    BadRequest,
    GatewayError,
    Internal,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    ServiceError,
)
from ..exchange.problem_page import DELIVERED, RETRYABLE
from ..exchange.problems import ANSWERED, build_problem_response
from ..formats.accept import prefers_html
from ..formats.fields import is_clean_request_id
from ..formats.html import POLICY, mark_code, write_link, write_page
from .root import find_root

_LISTED = sorted(ERRORS, key=lambda error: error.status)
_BY_SLUG = {error.slug: error for error in ERRORS}
# The errors for the framework's own statuses. If several errors have one status, it is the first one in ERRORS.
_BY_STATUS = {error.status: error for error in reversed(ERRORS)}
_INTRODUCTION = (
    "<p>Why a request can fail. <i>Delivered</i> says whether the service has run. <i>Retryable</i> says whether the "
    "same request may succeed later, and the service has not run.</p>"
    "<table><tr><th>Status</th><th>Problem</th><th>Delivered</th><th>Retryable</th></tr>"
)
_YES_OR_NO = {True: "yes", False: "no"}

_log = structlog.get_logger("nats-http.problems")


def add_problems(app: FastAPI, proxies: Proxies, *, pages: Container[str]) -> None:
    """Add the exception handlers, and the pages, which link to `pages`."""

    answer = partial(_answer, pages)

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
        return answer(request, _from_status(error.status_code, error.headers or {}))

    async def answer_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        names = ", ".join(str(detail["loc"][-1]) for detail in error.errors())
        return answer(request, InvalidParameter(f"These parameters break their rules: {names}."))

    async def answer_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, GatewayError)  # noqa: S101
        return answer(request, error)

    async def answer_crash(request: Request, error: Exception) -> Response:
        _log.error("internal-error", path=request.url.path, exc_info=error)
        client = request.client.host if request.client else None
        caller = find_caller(client, request.url.scheme, "asgi", find_root(request))
        root = proxies.find_root(caller, request.headers.raw)  # a middleware may have failed before the root was found
        return answer(request, Internal(headers=((b"connection", b"close"),)), root)  # uvicorn closes it anyway

    async def list_problems(request: Request) -> Response:
        return _list_problems(request, pages)

    async def show_problem(request: Request) -> Response:
        return _show_problem(request, pages)

    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(GatewayError, answer_refusal)
    app.add_exception_handler(Exception, answer_crash)
    app.add_route("/problems", list_problems, include_in_schema=False)
    app.add_route("/problems/{slug}", show_problem, include_in_schema=False)


def _from_status(status: int, headers: Mapping[str, str]) -> GatewayError:
    pairs = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
    if status == MethodNotAllowed.status:
        return MethodNotAllowed(f"This path allows {headers.get('Allow', '')}.", headers=pairs)
    return _BY_STATUS.get(status, BadRequest)(headers=pairs)


def _answer(pages: Container[str], request: Request, error: GatewayError, root: str | None = None) -> Response:
    request.scope.get(ANSWERED, []).append(error)
    asked = request.headers.get("x-request-id", "")
    request_id = asked if is_clean_request_id(asked.encode("latin-1")) else secrets.token_hex(8)
    own, path = find_root(request), (request.scope.get("raw_path") or request.url.path.encode()).decode("latin-1")
    made = build_problem_response(
        error,
        instance=path.removeprefix(own),
        request_id=request_id,
        root=own if root is None else root,
        accept=_find_accept(request),
        pages=pages,
    )
    response = Response(made.body, made.status)
    response.raw_headers = [
        *made.fields.pairs,
        (b"x-request-id", made.request_id),
        (b"content-length", b"%d" % len(made.body)),
    ]
    return response


def _list_problems(request: Request, pages: Container[str]) -> Response:
    root = find_root(request)
    if prefers_html(_find_accept(request)):
        rows = "".join(_write_row(error, root) for error in _LISTED)
        return _page("Problems", f"{_INTRODUCTION}{rows}</table>", root, pages)
    return JSONResponse([_describe(error, root) for error in _LISTED], headers={"vary": "Accept"})


def _show_problem(request: Request, pages: Container[str]) -> Response:
    root, error = find_root(request), _BY_SLUG.get(request.path_params["slug"])
    if error is None:
        raise HTTPException(NotFound.status)
    if prefers_html(_find_accept(request)):
        return _page(error.title, _explain(error), root, pages)
    return JSONResponse(_describe(error, root), headers={"vary": "Accept"})


def _find_accept(request: Request) -> bytes:
    return ",".join(request.headers.getlist("accept")).encode("latin-1")


def _describe(error: type[GatewayError], root: str) -> dict[str, object]:
    return {
        "type": f"{root}/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "delivered": error.delivered,
        "retryable": error.retryable,
        "cause": error.cause,
        "cure": error.cure,
    }


def _write_status(error: type[GatewayError]) -> str:
    return "400–599" if error is ServiceError else str(error.status)  # the service chooses it


def _write_row(error: type[GatewayError], root: str) -> str:
    cells = (
        _write_status(error),
        write_link(f"{root}/problems/{error.slug}", error.title),
        error.delivered,
        _YES_OR_NO[error.retryable],
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _explain(error: type[GatewayError]) -> str:
    return (
        f"<p><b>Status {_write_status(error)}</b>, <code>{error.slug}</code></p><p>{mark_code(error.cause)}</p>"
        f"<h2>What to do</h2><p>{mark_code(error.cure)}</p>"
        f"<h2>Was it delivered?</h2><p>{DELIVERED[error.delivered]} {RETRYABLE[error.retryable]}</p>"
    )


def _page(title: str, body: str, root: str, pages: Container[str]) -> HTMLResponse:
    headers = {"vary": "Accept", "content-security-policy": POLICY}
    return HTMLResponse(write_page(title, body, root=root, pages=pages), headers=headers)
