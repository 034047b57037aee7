"""Checks a request head by the rules of RFC 9112 that the parser does not check. Pure."""

import re
from collections.abc import Sequence

import httptools

from ..errors import BadRequest, GatewayError, HeadersTooLarge, Internal, VersionNotSupported
from ..formats.fields import Pair

MAX_FIELDS = 256  # header fields of a request

# RFC 3986 §3.2.2 and §3.2.3: a registered name or an IPv4 address, or an IP literal; and a port.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:._~%-]+\])(?::[0-9]{0,5})?")
_VERSION_FAULTS = ("Invalid HTTP version", "Pause on PRI/Upgrade")  # the latter is the preface of HTTP/2


class _Trailers(list[Pair]):
    def append(self, _: Pair) -> None:
        pass


TRAILERS = _Trailers()
"""The list for trailers, which drops them (RFC 9110 §6.5.1)."""


class Refused(Exception):
    """The request is refused. It is raised in a callback of the parser, which then stops."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(error.slug)
        self.error = error


def check_head(noted: Sequence[Pair], version: str, count: int) -> bool:
    """Check a head. Returns whether the caller waits for a 100 Continue. `noted` are its fields named `host`, `expect`
    or `transfer-encoding`; others are ignored. `count` is the number of all fields. Raises Refused."""
    if version not in ("1.1", "1.0"):
        raise Refused(VersionNotSupported())
    if count > MAX_FIELDS:
        raise Refused(HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields."))
    _check_host([value for name, value in noted if name == b"host"], version)
    _check_coding([value for name, value in noted if name == b"transfer-encoding"], version)
    expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in noted)
    return expects and version == "1.1"  # RFC 9110 §10.1.1: never to HTTP/1.0


def _check_host(hosts: Sequence[bytes], version: str) -> None:
    """Check the `Host` fields (RFC 9112 §3.2). Raises Refused."""
    if len(hosts) > 1:
        raise Refused(BadRequest("The request has more than one Host header."))
    if not hosts and version == "1.1":
        raise Refused(BadRequest("The request has no Host header."))
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Refused(BadRequest("The Host header is not a host name or address with an optional port."))


def _check_coding(codings: Sequence[bytes], version: str) -> None:
    """Check the transfer codings (RFC 9112 §6.1 and §6.3): the last one must be chunked, and HTTP/1.0 has none. Raises
    Refused."""
    if codings and (version == "1.0" or codings[-1].rpartition(b",")[2].strip().lower() != b"chunked"):
        raise Refused(BadRequest("The Transfer-Encoding of the request is not chunked, or its HTTP version has none."))


def normalize_target(method: bytes, target: bytes) -> bytes:
    """The normal form of a request target that doesn't begin with a slash. A URL without a path gets the path `/`, but
    for OPTIONS without a query it becomes `*` (RFC 9112 §3.2.1, §3.2.4). Raises Refused."""
    if target == b"*":
        return target
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise Refused(BadRequest("The target of the request is not a path, a URL or `*`.")) from None
    if parsed.path:
        return target
    if method == b"OPTIONS" and parsed.query is None:
        return b"*"
    return b"/" if parsed.query is None else b"/?" + bytes(parsed.query)


def find_length(headers: Sequence[Pair]) -> int | None:
    """The Content-Length of a head that the parser has accepted; None for a chunked body."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def describe_bug(error: BaseException | None) -> Internal:
    """An Internal with an exception as its `__cause__`, for the log."""
    bug = Internal()
    bug.__cause__ = error
    return bug


def describe_error(error: Exception) -> GatewayError:
    """The GatewayError for an exception of the parser. An exception in one of our callbacks, except Refused, is a bug:
    it becomes Internal, with the exception as `__cause__`, for the log."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, httptools.HttpParserCallbackError):
        cause = error.__context__
        if isinstance(cause, Refused):
            return cause.error
        return describe_bug(cause)
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return BadRequest("The request does not begin with a known method. This port speaks HTTP, not HTTPS.")
    return VersionNotSupported() if str(error) in _VERSION_FAULTS else BadRequest()
