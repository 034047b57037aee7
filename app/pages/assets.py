"""The files that pages load: ours, and those of Swagger UI and ReDoc. None comes from elsewhere.

A file is read and compressed when it is first asked for, in a thread, and then kept. An address with the version of
its file is good for ever; without it, browsers ask each time whether the file has changed.
"""

import asyncio
import gzip
import hashlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from ..formats.accept import accepts_gzip
from .root import find_root

FOLDER = "/docs/assets"
_FILES = {
    "docs.css": (f"{__package__}", "text/css; charset=utf-8"),
    "docs.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "favicon.svg": (f"{__package__}", "image/svg+xml"),
    "redoc.standalone.js": ("fastapi_offline", "text/javascript; charset=utf-8"),
    "status.css": (f"{__package__}", "text/css; charset=utf-8"),
    "status.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    # status.js imports these
    "status-draw.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-feed.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-lists.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-routes.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-words.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": ("fastapi_offline", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("fastapi_offline", "text/css; charset=utf-8"),
}
# ReDoc would load it from its maker's site. No option turns that off; its image goes away by itself when there is none.
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_PIECE = 64 * 1024  # bytes at a time, so that a caller who reads slowly takes no more memory
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "public, no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and compressed. `version` changes with what is in it."""

    media_type: str
    plain: bytes
    compressed: bytes
    version: str


class Assets:
    """The files, each made once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Asset] = {}

    async def find(self, name: str) -> Asset:
        """Raises KeyError where there is no such file."""
        made = self._made.get(name)
        return await asyncio.to_thread(self._make, name) if made is None else made

    async def write_address(self, name: str, root: str) -> str:
        """The address of a file, with its version, for a caller who sees the gateway under `root`."""
        return f"{root}{FOLDER}/{name}?v={(await self.find(name)).version}"

    def _make(self, name: str) -> Asset:
        package, media_type = _FILES[name]
        with self._lock:
            if name not in self._made:
                plain = (files(package) / "static" / name).read_bytes().replace(_REDOC_LOGO, b"data:,")
                version = hashlib.sha256(plain).hexdigest()[:16]
                self._made[name] = Asset(media_type, plain, gzip.compress(plain, mtime=0), version)
            return self._made[name]


def add_assets(app: FastAPI, assets: Assets) -> None:
    """Serve them, and an icon to whoever asks for `/favicon.ico`, as browsers do beside a document that names none."""

    async def serve(request: Request) -> Response:
        try:
            asset = await assets.find(request.path_params["name"])
        except KeyError:
            raise HTTPException(404) from None
        return _answer(request, asset)

    async def lead_to_icon(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{find_root(request)}{FOLDER}/favicon.svg")

    app.add_route(f"{FOLDER}/{{name}}", serve, include_in_schema=False)
    app.add_route("/favicon.ico", lead_to_icon, include_in_schema=False)


def _answer(request: Request, asset: Asset) -> Response:
    is_compressed = accepts_gzip(",".join(request.headers.getlist("accept-encoding")).encode("latin-1"))
    body = asset.compressed if is_compressed else asset.plain
    etag = f'"{asset.version}{"-gzip" if is_compressed else ""}"'
    is_versioned = request.query_params.get("v") == asset.version
    headers = {
        "etag": etag,
        "vary": "Accept-Encoding",
        "cache-control": _FOR_EVER if is_versioned else _ASK_AGAIN,
    }
    if _has_it(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if is_compressed:
        headers["content-encoding"] = "gzip"
    headers["content-length"] = str(len(body))
    return StreamingResponse(cut(body), media_type=asset.media_type, headers=headers)


def _has_it(if_none_match: str, etag: str) -> bool:
    """RFC 9110 §13.1.2, with the weak comparison."""
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


async def cut(body: bytes) -> AsyncIterator[bytes]:
    """In pieces, each of which waits for its reader."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
