"""Asks an issuer for its keys. Only this module imports httpx. It is only imported if a scheme needs it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from ..edge.jwk import read_keys
from ..edge.key_sets import IssuerKey
from ..formats.schemas import parse_json
from .fetcher import LIMIT, MAX_ANSWER, FetchFailed

_HEADERS = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}


# The first kind that fits the failure itself, or one of its causes, gives the words.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLError, "the TLS handshake failed"),
    (ConnectionRefusedError, "connection refused"),
    (socket.gaierror, "its host can't be found"),
    (httpx.ProxyError, "the proxy refused"),
    (httpx.TimeoutException, "timed out"),
    (httpx.ProtocolError, "it does not speak HTTP, or closed the connection"),
    (ConnectionError, "the connection was reset"),
    (httpx.NetworkError, "it can't be reached"),
)


def describe_failure(error: Exception) -> str:
    """Why there was no answer. The text contains no part of the address or of the answer."""
    causes = list(_list_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message.rstrip('.')})"
    found = (words for kind, words in _KINDS if any(isinstance(cause, kind) for cause in causes))
    return next(found, type(error).__name__)


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        within = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None  # one error for each address
        error = within or error.__cause__ or error.__context__


class IssuerClient:
    """An async context manager that fetches the keys at one URL. It may be made in any thread. Raises FetchFailed if
    the environment names a proxy that can't be used."""

    def __init__(self, url: str) -> None:
        is_secure = urlsplit(url).scheme == "https"
        self._url = url
        try:
            self._client = httpx.AsyncClient(
                verify=ssl.create_default_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                follow_redirects=False,
                timeout=LIMIT,
                trust_env=is_secure,  # plain HTTP is only for this machine: no proxy is needed
                headers=_HEADERS,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise FetchFailed(f"HTTPS_PROXY or a similar variable can't be used: {type(error).__name__}") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch_keys(self) -> tuple[IssuerKey, ...]:
        """Fetch the current keys, within LIMIT seconds. Raises FetchFailed."""
        try:
            async with asyncio.timeout(LIMIT):
                data = await self._read()
        except TimeoutError:
            raise FetchFailed(f"no complete answer within {LIMIT:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchFailed(f"no answer: {describe_failure(error)}") from None
        try:
            document = parse_json(data)
        except (ValueError, RecursionError):
            raise FetchFailed("it is not JSON") from None
        try:
            return read_keys(document)
        except ValueError as error:
            raise FetchFailed(str(error)) from None

    async def _read(self) -> bytes:
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise FetchFailed(f"the answer has status {response.status_code}, not 200")
            if "content-encoding" in response.headers:
                raise FetchFailed("the answer has a Content-Encoding, which was not asked for")
            data = bytearray()
            async for part in response.aiter_raw():
                data += part
                if len(data) > MAX_ANSWER:
                    raise FetchFailed(f"the answer has more than {MAX_ANSWER} bytes")
            return bytes(data)
