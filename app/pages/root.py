"""The path under which the caller of a page sees the gateway."""

from urllib.parse import quote

from starlette.requests import Request


def find_root(request: Request) -> str:
    """Percent-encoded, safe in markup, and without a slash at its end; empty if there is none."""
    return quote(request.scope.get("root_path", ""))
