"""Takes the requests of one connection from their heads: checks each head, and begins the request.

This module uses internals of uvicorn 0.54. tests/http/test_uvicorn_contract.py checks them.
"""

import asyncio
import time
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..edge.request import Caller, Request
from ..errors import BadRequest
from ..formats.fields import Pair, encode_fields, without_upgrade
from .bounds import Bounds
from .head import MAX_FIELDS, TRAILERS, check_head, describe_bug, normalize_target
from .intake import BODY, HEAD, IDLE
from .patience import Timed
from .repeats import KnownHead, is_plain_target, may_be_known

_NOTED = frozenset((b"host", b"connection", b"proxy-connection", b"expect", b"transfer-encoding"))
_KEEPS = (b"connection", b"keep-alive")
_SLASH, _HASH = ord("/"), ord("#")


class Heads(Timed):
    """A connection whose requests begin once their heads are complete. An offer to upgrade is ignored (RFC 9110 §7.8),
    so that the body is read as a body. A subclass defines `begin_request`."""

    caller: Caller
    """The caller at the other end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, bounds=bounds)
        self.version = "1.1"
        """The HTTP version of the current request."""
        self.keeps_alive = True
        """Whether the connection may stay open after the current request."""
        self._usual: list[Pair] = [(b"", b"")]
        """The _NOTED fields of an earlier valid head of HTTP/1.1: Host, and perhaps `Connection: keep-alive`. They need
        no second check."""
        self._is_usual = False
        """Whether the latest head was so."""
        self._plain_head: bytes | None = None
        """The head to read again without its offer to upgrade."""
        self._known: KnownHead | None = None
        """What the next head may have in common with the ones before."""

    def on_message_begin(self) -> None:
        """As in uvicorn, but without a scope: it is made when the application begins."""
        self.url = b""
        self.headers = []
        self.phase = HEAD
        self._known = None  # what the parser says is no longer about that head

    def on_header(self, name: bytes, value: bytes) -> None:
        """As in uvicorn, but `expect` is checked once all fields have come."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin the request, or raise Refused if its head is not valid. A usual head needs no further check: without
        another `Connection` it offers no upgrade."""
        headers = self.headers
        noted = [pair for pair in headers if pair[0] in _NOTED]
        self._is_usual = usual = (
            noted == self._usual
            and self.url[0] == _SLASH
            and len(headers) <= MAX_FIELDS
            and self.parser.should_keep_alive()
            and (len(noted) == 1 or self.parser.get_http_version() == "1.1")  # HTTP/1.0 may ask for keep-alive too
        )
        if usual:
            self.begin_request()
        else:
            self._begin_unusual_request(noted)
            self.keeps_alive, self.version, self.expect_100_continue = True, "1.1", False
        self.phase = BODY
        self.fields, self.headers = headers, TRAILERS

    def _begin_unusual_request(self, noted: list[Pair]) -> None:
        """Check the head, and begin the request or keep its head: an offer to upgrade is removed. Raises Refused."""
        self.version = version = self.parser.get_http_version()
        self.expect_100_continue = check_head(noted, version, len(self.headers))
        self.keeps_alive = version == "1.1" and self.parser.should_keep_alive()
        if version == "1.1" and [name for name, value in noted if (name, value.lower()) != _KEEPS] == [b"host"]:
            self._usual = noted
        if self.url[0] != _SLASH:
            self.url = normalize_target(self.parser.get_method(), self.url)
        if self.parser.should_upgrade():
            self._plain_head = self._encode_plain_head()
        else:
            self.begin_request()

    def read_request(self) -> Request:
        """The request whose head is complete."""
        target = self.url
        if _HASH in target or target[0] != _SLASH:
            path, query = _split_target(target)
        else:
            path, _, query = target.partition(b"?")
        # By position: by name it would cost twice as much.
        return Request(
            self.parser.get_method().decode(), path, query, self.headers, self.version, time.monotonic(), self.caller
        )

    def on_message_complete(self) -> None:
        """Note the end of the request, unless its head is read again without its offer to upgrade."""
        if self._plain_head is None:
            self.phase = IDLE
            if self.body_left is None:
                self.end_chunks()
            self.end_request()

    def take_repeated(self, data: bytes, end: int) -> bool:
        """Take a request whose head ends at `end`, if that is like the ones before: most callers send the same fields
        again, and often with the same values. Its body, if it has one, must have come with it."""
        known = self._known
        if known is None or not data.startswith(known.start):
            return False
        start = len(known.start)
        stop = end - len(known.end)
        if known.varies or not data.startswith(known.end, stop):
            stop = data.find(b" ", start)
            if (fields := known.read(data[stop:end])) is None:
                return False
            self.headers = fields
        else:
            self.headers = known.fields
        target = data[start:stop]
        if len(data) - end != known.length or not is_plain_target(target):
            return False
        self.url = target
        try:
            self.begin_request()
            self.headers = TRAILERS
            if known.length:
                self.phase = BODY
                self.on_body(data[end:])
                self.phase = IDLE
            self.end_request()
        except Exception as error:
            self.take_error(describe_bug(error))
        return True

    def note_whole(self, data: bytes, end: int) -> None:
        """Remember the head, if it was a usual one."""
        start = self.parser.get_method() + b" "
        rest = data[len(start) + len(self.url) : end]
        if self._is_usual and may_be_known(rest) and data.startswith(start + self.url):
            self._known = KnownHead(start, rest, self.fields, len(data) - end)
        else:
            self._known = None

    def take_upgrade(self, rest: bytes) -> None:
        """Read the request again without its offer to upgrade. CONNECT is an error."""
        head, self._plain_head = self._plain_head, None
        if head is None or head.startswith(b"CONNECT "):
            self.take_error(BadRequest())
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.phase = IDLE
        self.read_again(head + rest)

    def _encode_plain_head(self) -> bytes:
        version = self.parser.get_http_version().encode()
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"%b%b\r\n" % (line, encode_fields(without_upgrade(self.headers)))

    # A subclass defines these.

    def begin_request(self) -> None:
        """Begin the request whose head is complete."""
        raise NotImplementedError

    def end_request(self) -> None:
        """The request is complete, with its body."""
        raise NotImplementedError


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """The raw path and query of any request target. The path is b"" if there is none, as for CONNECT."""
    parsed = httptools.parse_url(target)
    return parsed.path or b"", parsed.query or b""
