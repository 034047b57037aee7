"""CORS: which pages of other origins may call a route and read its answers (https://fetch.spec.whatwg.org, 3.2). Pure.

Laws:
1. An answer never names an origin that no rule allows. It names the origin as it came: short, and in printable ASCII.
2. Every answer under these rules has `Vary: Origin`, whether the origin is allowed or not, and even without an origin.
3. The rules refuse no request. The browser keeps the answer from a page; other callers need no permission.
4. The time of a pattern grows linearly with the length of the origin.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from ..errors import GatewayError
from ..formats.fields import TOKEN, Pair, find_values
from .request import Request

ANY = "*"
MAX_ORIGIN = 512  # bytes: a host name has at most 253
MAX_ASKED = 4096  # bytes of the header names that a preflight asks for
EXPOSED = (
    "x-request-id",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "allow",
    "accept",
    "server-timing",
    "www-authenticate",
)
"""Response headers that the gateway itself writes, and that a page may read unless its route says otherwise."""

# The headers that pages may always send, or read, with simple values (Fetch, 2.2.2).
_SAFE_TO_SEND = (b"accept", b"accept-language", b"content-language", b"content-type")
_SAFE_TO_READ = frozenset(
    ("cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma")
)
# Headers that a browser writes itself, and that no page can set (Fetch, 2.2.2, forbidden request-headers).
_OF_THE_BROWSER = frozenset(
    b"accept-charset accept-encoding connection content-length cookie cookie2 date dnt expect host keep-alive origin "
    b"referer set-cookie te trailer transfer-encoding upgrade via".split()
)
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_USUAL_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
# No page has one of these origins. A pattern that matches one of them probably matches all origins.
_STRANGERS = ("https://any.invalid", "http://any.invalid", "https://any.invalid:8443", "http://any.invalid:8080")

_REMEMBERED = 16  # patterns: most routes share one
_CREDENTIALS: Pair = (b"access-control-allow-credentials", b"true")
_ALLOW_ORIGIN = b"access-control-allow-origin"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRules:
    """The rules of a `cors`. None for `allow_methods`, `allow_headers` and `expose_headers` means the methods, request
    headers and response headers that the routes have. `max_age` is seconds. Check the origins with `check_origin`, and
    the pattern with `check_pattern`."""

    allow_origins: frozenset[str] = frozenset()
    allow_origin_regex: str | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_headers: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    allow_credentials: bool = False
    max_age: int = 600


@dataclass(frozen=True, slots=True)
class Preflight:
    """The question of a browser before a request: may a page of this origin send this method with these headers?"""

    origin: bytes
    method: bytes
    headers: bytes


class Cors:
    """The rules of one route, or of all answers without a route. A policy that refuses nothing: it only adds header
    fields to answers."""

    fields = frozenset((b"origin",))
    errors: tuple[type[GatewayError], ...] = ()

    def __init__(self, rules: CorsRules, answers_with: Iterable[str] = ()) -> None:
        """`answers_with` are response headers that a page may read in addition to EXPOSED, if the rules do not list
        any."""
        self.rules = rules
        self._takes_any = ANY in rules.allow_origins
        self._origins = frozenset(origin.encode("ascii") for origin in rules.allow_origins)
        self._pattern = None if rules.allow_origin_regex is None else _compile(rules.allow_origin_regex)
        self._methods = None if _is_open(rules.allow_methods) else frozenset(rules.allow_methods or ())
        self._credentials = (_CREDENTIALS,) if rules.allow_credentials else ()
        self._extra = (*_expose(rules.expose_headers, answers_with), *self._credentials)

    def check(self, request: Request) -> None:
        """Adds the fields that let a page of this origin read the answer, if it may."""
        request.vary_by(b"Origin")
        origin = self._find_allowed(find_values(request.headers, b"origin"))
        if origin is not None and self._takes(request.method):
            request.added += ((_ALLOW_ORIGIN, origin), *self._extra)

    def check_preflight(
        self, request: Request, preflight: Preflight, *, methods: Iterable[str], headers: Iterable[bytes]
    ) -> None:
        """Adds the fields that say what a page of this origin may send. `methods` are the methods of the routes, and
        `headers` the header names (lower case) that they read."""
        request.vary_by(b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        origin = self._find_allowed([preflight.origin])
        if origin is None:
            return
        allowed = [method for method in methods if self._takes(method)]
        listed = [(b"access-control-allow-methods", ", ".join(allowed).encode("ascii"))] if allowed else []
        request.added += (
            (_ALLOW_ORIGIN, origin),
            *listed,
            (b"access-control-allow-headers", b", ".join(self._list_headers(preflight, headers))),
            (b"access-control-max-age", b"%d" % self.rules.max_age),
            *self._credentials,
        )

    def _takes(self, method: str) -> bool:
        return self._methods is None or ("GET" if method == "HEAD" else method) in self._methods

    def _find_allowed(self, values: Sequence[bytes]) -> bytes | None:
        """The value for `Access-Control-Allow-Origin`, from the values of `Origin`; None if the origin is not
        allowed."""
        if len(values) != 1 or len(values[0]) > MAX_ORIGIN:
            return None
        if self._takes_any:
            return ANY.encode("ascii")
        origin = values[0]
        if origin in self._origins or (self._pattern is not None and _fits(self._pattern, origin)):
            return origin
        return None

    def _list_headers(self, preflight: Preflight, read: Iterable[bytes]) -> list[bytes]:
        allowed = self.rules.allow_headers
        if allowed is not None and ANY in allowed:
            return sorted({*_SAFE_TO_SEND, *list_asked(preflight)})
        names = read if allowed is None else (name.lower().encode("ascii") for name in allowed)
        return sorted({*_SAFE_TO_SEND, *(name for name in names if not _is_of_the_browser(name))})


def read_preflight(fields: Sequence[Pair]) -> Preflight | None:
    """The preflight in an OPTIONS request with these fields; None if it is not a preflight."""
    origins = find_values(fields, b"origin")
    methods = find_values(fields, b"access-control-request-method")
    if len(origins) != 1 or len(methods) != 1 or not TOKEN.fullmatch(methods[0]):
        return None
    return Preflight(origins[0], methods[0], b",".join(find_values(fields, b"access-control-request-headers")))


def list_asked(preflight: Preflight) -> list[bytes]:
    """The header names that a preflight asks for, in lower case. Empty if one is not a valid name, or if all together
    have more than MAX_ASKED bytes."""
    if len(preflight.headers) > MAX_ASKED:
        return []
    names = [name.strip().lower() for name in preflight.headers.split(b",")]
    return names if all(TOKEN.fullmatch(name) for name in names) else []


def check_origin(text: str) -> None:
    """Raises ValueError if no browser sends this text as an origin. `*` is allowed."""
    if text == ANY:
        return
    if text == "null":
        raise ValueError("any page can make its origin null: say `*`, if all may call")
    if ANY in text:
        raise ValueError("an origin has no wildcards: `allow_origin_regex` takes a pattern")
    found = _ORIGIN.fullmatch(text)
    if found is None or len(text) > MAX_ORIGIN:
        raise ValueError(
            "an origin is a scheme and a host in lower case, and a port, such as https://app.example.com or "
            "http://localhost:5173: without a path, and without a slash at its end"
        )
    scheme, host, port = found.groups()
    if port is not None and port == _USUAL_PORTS.get(scheme):
        raise ValueError(f"browsers leave out the usual port: {scheme}://{host}")


def check_pattern(text: str) -> None:
    """Raises ValueError if the text is not a regular expression that runs in linear time."""
    try:
        _compile(text)
    except SchemaError:
        raise ValueError("it is not a regular expression, or has look-around or a back-reference") from None


def takes_any_origin(rules: CorsRules) -> bool:
    """Whether the rules allow any origin: by `*`, or by a pattern that matches an arbitrary host."""
    if ANY in rules.allow_origins:
        return True
    if rules.allow_origin_regex is None:
        return False
    pattern = _compile(rules.allow_origin_regex)
    return any(_fits(pattern, origin.encode("ascii")) for origin in _STRANGERS)


def _is_open(names: Sequence[str] | None) -> bool:
    return names is None or ANY in names


def _expose(declared: Sequence[str] | None, answers_with: Iterable[str]) -> tuple[Pair, ...]:
    names = (*EXPOSED, *answers_with) if declared is None else declared
    listed = dict.fromkeys(name.lower() for name in names if name.lower() not in _SAFE_TO_READ and name != "vary")
    return ((b"access-control-expose-headers", ", ".join(listed).encode("ascii")),) if listed else ()


def _is_of_the_browser(name: bytes) -> bool:
    return name in _OF_THE_BROWSER or name.startswith((b"proxy-", b"sec-", b"access-control-"))


@lru_cache(_REMEMBERED)
def _compile(pattern: str) -> SchemaValidator:
    """A validator that matches a whole text. Rust's regular expressions run in linear time. Raises SchemaError."""
    SchemaValidator(core_schema.str_schema(pattern=pattern))  # without the group: `a)|(b` is not a valid pattern
    return SchemaValidator(core_schema.str_schema(pattern=rf"\A(?:{pattern})\z"))


def _fits(pattern: SchemaValidator, origin: bytes) -> bool:
    text = origin.decode("latin-1")
    return _ORIGIN.fullmatch(text) is not None and pattern.isinstance_python(text)
