"""The documentation pages. They load only files of the gateway, so they work without internet."""

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from html import escape

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..formats.html import write_navigation
from .assets import Assets
from .openapi_part import select_tag
from .root import find_root

# Both pages make inline styles. ReDoc makes the worker for its search from a blob.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _Page:
    """A page with an element of this name. docs.js fills it, with these files."""

    path: str
    element: str
    files: tuple[str, ...]


_PAGES = (
    _Page("/docs", "swagger-ui", ("swagger-ui.css", "swagger-ui-bundle.js")),
    _Page("/redoc", "redoc", ("redoc.standalone.js",)),
)


def add_docs(
    app: FastAPI,
    assets: Assets,
    *,
    find_title: Callable[[], str],
    write_openapi: Callable[[str], bytes],
    pages: Container[str],
) -> None:
    """Add `/docs` (Swagger UI) and `/redoc`, which link to `pages`, and `/openapi.json`, which has only the operations
    of a tag with `?service=orders`.

    No text of the route file becomes markup or a script, except the harmless markup in descriptions (CommonMark).
    `find_title` is called for each page. `write_openapi` returns the OpenAPI document below a root.
    """

    async def openapi(request: Request) -> Response:
        document: bytes | None = write_openapi(find_root(request))
        if (service := request.query_params.get("service")) is not None and document is not None:
            document = await asyncio.to_thread(select_tag, document, service)
        if document is None:
            raise HTTPException(404)
        return Response(document, media_type="application/json")

    async def show(page: _Page, request: Request) -> HTMLResponse:
        return await _write_docs(page, assets, find_title(), find_root(request), pages)

    app.add_route("/openapi.json", openapi, include_in_schema=False)
    for page in _PAGES:
        app.add_route(page.path, partial(show, page), include_in_schema=False)


async def _write_docs(page: _Page, assets: Assets, title: str, root: str, pages: Container[str]) -> HTMLResponse:
    loaded = [_load(await assets.write_address(name, root)) for name in ("docs.js", *page.files, "docs.css")]
    icon = await assets.write_address("favicon.svg", root)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" type="image/svg+xml" href="{icon}">{"".join(loaded)}</head>'
        f"<body>{write_navigation(root, pages, here=page.path)}"
        f'<div id="{page.element}" data-openapi="{root}/openapi.json"></div></body></html>'
    )
    return HTMLResponse(text, headers={"content-security-policy": _POLICY})


def _load(address: str) -> str:
    """The element that loads a file. docs.js runs at once, since it chooses the colours; other scripts run when the
    page has been parsed."""
    if ".css?" in address:
        return f'<link rel="stylesheet" href="{address}">'
    defer = "" if "/docs.js?" in address else " defer"
    return f'<script src="{address}"{defer}></script>'
