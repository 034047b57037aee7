"""The ASGI application: middleware, the lane, and FastAPI for the pages."""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from ..checks.checker import Checker
from ..exchange.relay import Relay
from ..nats.feeds import Feeds
from ..nats.in_flight import Sender
from .asgi import AsgiLane
from .asgi_exchange import EXCHANGE, AsgiExchange
from .subscriber import Streams
from .uploads import Uploads

_ANYTHING = re.compile("")


class GatewayApp(FastAPI):
    """A FastAPI application. The lane answers the routes, and only pages pass through FastAPI. Middleware that is added
    sees all requests, also those to routes, as in any FastAPI application. While `drain` is set, every response closes
    its connection."""

    def __init__(
        self,
        *,
        relay: Relay,
        links: Mapping[str, Sender],
        checker: Checker,
        uploads: Uploads,
        feeds: Mapping[str, Feeds],
        streams: Streams,
        drain: asyncio.Event,
        title: str,
        version: str,
        lifespan: Lifespan["GatewayApp"] | None,
    ) -> None:
        super().__init__(
            title=title, version=version, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
        )
        self._relay = relay
        self._drain = drain
        self._lane = Middleware(
            AsgiLane,
            relay=relay,
            links=links,
            checker=checker,
            uploads=uploads,
            feeds=feeds,
            streams=streams,
            may_be_page=self.may_be_page,
        )
        self._entry: ASGIApp | None = None
        self._own: tuple[object, ...] = ()
        self._pages: list[BaseRoute] = []
        self._literal: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []

    @property
    def has_middleware(self) -> bool:
        """Whether middleware was added. The fast lane does not run it."""
        return bool(self.user_middleware)

    def answer_not_found_early(self) -> None:
        """Let the lanes themselves answer 404 if no page has a path, at a fifth of the cost. This ends as soon as
        somebody replaces the default answer or an exception handler of the application."""
        self._own = self._list_answers()

    def _list_answers(self) -> tuple[object, ...]:
        return self.router.default, *self.exception_handlers.items()

    def may_be_page(self, path: bytes) -> bool:
        """Whether this raw path may belong to a page, with or without a slash at its end. FastAPI only gets such
        paths."""
        if self._own != self._list_answers():
            return True
        if self._pages != self.router.routes:
            self._list_pages()
        text = path.decode("latin-1")
        text = (unquote(text) if "%" in text else text).rstrip("/")
        return text in self._literal or any(
            pattern.match(text) or pattern.match(f"{text}/") for pattern in self._patterns
        )

    def _list_pages(self) -> None:
        self._pages = list(self.router.routes)
        self._literal, self._patterns = set(), []
        for page in self._pages:
            if isinstance(page, Route) and not page.param_convertors:
                self._literal.add(page.path.rstrip("/"))
            else:
                self._patterns.append(getattr(page, "path_regex", _ANYTHING))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._entry is None:
            self._entry = self._build_entry()
        if scope["type"] != "http":
            await self._entry(scope, receive, send)
            return
        if scope["path"].endswith("\n"):  # Starlette's `$` also matches before it: /livez%0a would be /livez
            scope["path"] += "\n"
        scope[EXCHANGE] = exchange = AsgiExchange(scope, send, self._relay, self._drain)
        try:
            await self._entry(scope, receive, exchange.send)
        finally:
            del scope[EXCHANGE]  # they refer to each other, and would stay until a full collection
            exchange.end()

    def _build_entry(self) -> ASGIApp:
        """The first ASGI application for a request. Without added middleware it is the lane itself, so that routes do
        not pass through the middleware of FastAPI either."""
        if self.has_middleware:
            return super().__call__
        lane, args, kwargs = self._lane
        entry: ASGIApp = lane(super().__call__, *args, **kwargs)
        return entry

    def build_middleware_stack(self) -> ASGIApp:
        """As in FastAPI, with the lane after the added middleware."""
        if not self.has_middleware:
            return super().build_middleware_stack()
        lane, args, kwargs = self._lane
        self.user_middleware.append(Middleware(lane, *args, **kwargs, is_behind_middleware=True))
        try:
            return super().build_middleware_stack()
        finally:
            self.user_middleware.pop()
