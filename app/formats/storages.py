"""The addresses of servers that count rate limits."""

from urllib.parse import urlsplit

_SCHEMES = ("redis", "rediss", "valkey", "valkeys")
_LOCAL = ("redis+unix", "valkey+unix")


def parse_storage(text: str) -> str:
    """The URL of a Redis or Valkey server. Raises ValueError, whose text shows the right form, but no part of the wrong
    URL."""
    wrong = ValueError(
        "must be the URL of a Redis or Valkey server: redis://host:6379/0, rediss:// for TLS, or redis+unix:///path"
    )
    try:
        parts = urlsplit(text)
        is_server = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        raise wrong from None
    path = parts.path[1:]
    is_right = path if parts.scheme in _LOCAL else is_server and (path or "0").isdecimal()
    if not is_right or parts.query or parts.fragment:
        raise wrong
    return text


def mask_storage(text: str) -> str:
    """The URL without user and password. If the URL is wrong, a text that shows no part of it."""
    try:
        scheme, _, rest = parse_storage(text).partition("://")
    except ValueError:
        return "***"
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}://***@{host}" if at and credentials else text
