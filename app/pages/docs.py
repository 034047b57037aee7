"""The documentation pages, from files that we ship: they work without internet, and may load nothing from elsewhere."""

from collections.abc import Callable
from html import escape

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..formats.html import write_navigation
from .assets import Assets, add_assets
from .root import find_root

# Both pages make inline styles; ReDoc searches in a worker that it makes from a blob.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
)


def add_docs(app: FastAPI, *, find_title: Callable[[], str], write_openapi: Callable[[str], bytes]) -> None:
    """`/docs` (Swagger UI), `/redoc`, `/openapi.json`, their assets, and `/` that leads there. No text of the route
    file becomes markup or a script, but for the harmless markup of its descriptions (CommonMark). `find_title` is
    asked for each page, and `write_openapi` for the OpenAPI document below a root."""
    assets = Assets()

    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(find_root(request) + "/docs")

    async def openapi(request: Request) -> Response:
        return Response(write_openapi(find_root(request)), media_type="application/json")

    async def swagger(request: Request) -> HTMLResponse:
        return await _write_docs(
            assets, find_title(), find_root(request), "swagger-ui", ("swagger-ui.css", "swagger-ui-bundle.js")
        )

    async def redoc(request: Request) -> HTMLResponse:
        return await _write_docs(assets, find_title(), find_root(request), "redoc", ("redoc.standalone.js",))

    add_assets(app, assets)
    for path, endpoint in (("/", root), ("/docs", swagger), ("/redoc", redoc), ("/openapi.json", openapi)):
        app.add_route(path, endpoint, include_in_schema=False)


async def _write_docs(assets: Assets, title: str, root: str, element: str, names: tuple[str, ...]) -> HTMLResponse:
    """A page with one element, which docs.js fills."""
    loaded = [_load(await assets.write_address(name, root)) for name in ("docs.js", *names, "docs.css")]
    icon = await assets.write_address("favicon.svg", root)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" type="image/svg+xml" href="{icon}">{"".join(loaded)}</head>'
        f'<body>{write_navigation(root)}<div id="{element}" data-openapi="{root}/openapi.json"></div></body></html>'
    )
    return HTMLResponse(page, headers={"content-security-policy": _POLICY})


def _load(address: str) -> str:
    """docs.js chooses the colours before anything shows; other scripts run when the page is there."""
    if ".css?" in address:
        return f'<link rel="stylesheet" href="{address}">'
    defer = "" if "/docs.js?" in address else " defer"
    return f'<script src="{address}"{defer}></script>'
