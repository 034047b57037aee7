"""Redirects from a path with one slash too many or too few to the right page. They work for any name of the gateway."""

from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from .root import find_root

_IN_A_PATH = "/:@!$&'()*+,;=~"  # RFC 3986 §3.3
_IN_A_QUERY = _IN_A_PATH + "?%"


def lead_to(app: FastAPI, page: str) -> None:
    """Redirect `/` to this page, a path below the root."""

    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(find_root(request) + page)

    app.add_route("/", root, include_in_schema=False)


def add_redirects(app: FastAPI) -> None:
    """Redirect `/docs/` to `/docs`, as Starlette does. But Starlette's own redirect contains the host of the request.
    So a caller could make one that leads anywhere, and a cache could keep it. This redirect has only a path (RFC 9110
    §10.2.2). Other paths without a page are not found."""
    not_found = app.router.default
    app.router.redirect_slashes = False

    async def redirect(scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect to a page with the other spelling of this path, or answer as before."""
        path = _change_slash(scope["path"])
        if scope["type"] != "http" or path.startswith("//") or not _is_page(app, scope, path):
            await not_found(scope, receive, send)
            return
        await RedirectResponse(_encode_target(path, scope["query_string"]))(scope, receive, send)

    app.router.default = redirect


def _change_slash(path: str) -> str:
    return path.rstrip("/") if path.endswith("/") else f"{path}/"


def _is_page(app: FastAPI, scope: Scope, path: str) -> bool:
    there = {**scope, "path": path}
    return any(route.matches(there)[0] is not Match.NONE for route in app.router.routes)


def _encode_target(path: str, query: bytes) -> str:
    target = quote(path, safe=_IN_A_PATH)
    return f"{target}?{quote(query, safe=_IN_A_QUERY)}" if query else target
