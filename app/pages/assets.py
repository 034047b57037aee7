"""The files that pages load: ours, and those of Swagger UI and ReDoc. No file comes from another site.

A file is read and compressed in a thread, when it is first asked for, and then kept. Browsers may keep an address with
the version of its file for ever. Without the version they ask each time whether the file has changed.
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
    "status-nats.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-routes.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "status-words.js": (f"{__package__}", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": ("fastapi_offline", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("fastapi_offline", "text/css; charset=utf-8"),
}
# ReDoc would load it from its maker's site. No option turns that off. Without an image, ReDoc removes its place.
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_PIECE = 64 * 1024  # bytes at a time, so that a slow reader takes no more memory
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "public, no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, plain and compressed. `version` changes with its contents."""

    media_type: str
    plain: bytes
    compressed: bytes
    version: str


class Assets:
    """The files. Each is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Asset] = {}

    async def find(self, name: str) -> Asset:
        """The file of this name. Raises KeyError if there is none."""
        made = self._made.get(name)
        return await asyncio.to_thread(self._make, name) if made is None else made

    async def write_address(self, name: str, root: str) -> str:
        """The address of a file with its version, for a caller who sees the gateway under `root`."""
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
    """Serve the files. `/favicon.ico` leads to our icon: browsers ask for it if a document names no icon."""

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
    """Whether `If-None-Match` has this ETag, by the weak comparison (RFC 9110 §13.1.2)."""
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


async def cut(body: bytes) -> AsyncIterator[bytes]:
    """The body in pieces. The next piece comes when the reader has taken the last one."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
