"""The path under which the caller of a page sees the gateway."""

from urllib.parse import quote

from starlette.requests import Request


def find_root(request: Request) -> str:
    """The path under which the caller sees the gateway. It is percent-encoded, safe in markup, and has no slash at its
    end. Empty for the root of the host."""
    return quote(request.scope.get("root_path", ""))
