"""The documentation pages, from files that we ship: they work without internet, and may load nothing from elsewhere."""

import html
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

_ASSETS = "/docs/assets"
_REDOC = "redoc.standalone.js"
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_REDOC_ELEMENT = '<redoc sanitize="true" '  # else it takes any markup of a description as it is, scripts too
_HOUR = "max-age=3600"
# For narrow screens: no column for links, which no route has; the choice of examples below that of media types.
_SWAGGER_STYLE = (
    "<style>.swagger-ui .response-col_links{display:none}"
    ".swagger-ui .response-controls{flex-wrap:wrap;row-gap:8px}</style>"
)
# Both pages have inline scripts and styles; ReDoc searches in a worker that it makes from a blob.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
)


def add_docs(app: FastAPI, *, find_title: Callable[[], str]) -> None:
    """`/docs` (Swagger UI), `/redoc`, their assets, and `/` that leads there. No text of the route file becomes markup
    or a script, but for the harmless markup of its descriptions (CommonMark). `find_title` is asked for each page."""

    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(_find_root(request) + "/docs")

    async def swagger(request: Request) -> HTMLResponse:
        root_path = _find_root(request)
        page = get_swagger_ui_html(
            openapi_url=f"{root_path}/openapi.json",
            title=html.escape(find_title()),
            swagger_js_url=f"{root_path}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root_path}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root_path}{_ASSETS}/favicon.png",
            oauth2_redirect_url=None,
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        )
        return _finish(page, old="</head>", new=f"{_SWAGGER_STYLE}</head>")

    async def redoc(request: Request) -> HTMLResponse:
        root_path = _find_root(request)
        page = get_redoc_html(
            openapi_url=f"{root_path}/openapi.json",
            title=html.escape(find_title()),
            redoc_js_url=f"{root_path}{_ASSETS}/{_REDOC}",
            redoc_favicon_url=f"{root_path}{_ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        return _finish(page, old="<redoc ", new=_REDOC_ELEMENT)

    app.add_route(f"{_ASSETS}/{_REDOC}", _serve_redoc, include_in_schema=False)
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))
    for path, endpoint in (("/", root), ("/docs", swagger), ("/redoc", redoc)):
        app.add_route(path, endpoint, include_in_schema=False)


def _serve_redoc(_: Request) -> Response:
    """ReDoc without the logo that it would load from its maker's site: no option turns that off, and its image goes
    away by itself when there is none."""
    return Response(_read_redoc(), media_type="text/javascript", headers={"cache-control": _HOUR})


def _find_root(request: Request) -> str:
    """The path under which a proxy has the gateway. FastAPI writes it as it is into markup and a script."""
    return quote(request.scope.get("root_path", ""))


@cache
def _read_redoc() -> bytes:
    return (files("fastapi_offline") / "static" / _REDOC).read_bytes().replace(_REDOC_LOGO, b"data:,")


def _finish(page: HTMLResponse, *, old: str, new: str) -> HTMLResponse:
    text = bytes(page.body).decode("utf-8").replace(old, new)
    return HTMLResponse(text, headers={"content-security-policy": _POLICY})
