"""`/status`: a live page for people, and the data that its script shows."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Container
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from ..errors import Overloaded
from ..exchange.responses import encode_json
from ..formats.html import STATUS
from ..observe.history import STEP, History
from ..pieces import run_in_pieces
from .assets import Assets
from .root import find_root
from .services_seen import ServicesSeen
from .state import Sources, describe_state
from .status_page import POLICY, write_status_page

TICK = 0.25  # seconds between two checks for work
INTERVAL = 1.0  # seconds between two states while there is a watcher
LINGER = 10.0  # seconds for which a caller of `/status/data` counts as a watcher
MOST_WATCHERS = 64
LONGEST_ELSEWHERE = 15.0  # seconds of a stream under another server, which waits for it at its stop; browsers reconnect
LONGEST_ASKED = 60.0  # seconds of a stream if pages need credentials: then the browser must show them again
OURS = "nats_http.server"  # in the scope of a request, if the server is ours
MOST_WORK = 0.2  # the largest share of the time for making states


def add_status(app: FastAPI, assets: Assets, status: "Status", *, pages: Container[str], asks: bool) -> None:
    """Add `/status` and the data for its script: `/status/events` as server-sent events, `/status/data` once. `asks`
    says whether pages need credentials."""
    longest = LONGEST_ASKED if asks else math.inf

    async def page(request: Request) -> HTMLResponse:
        text = await write_status_page(assets, status.title, find_root(request), pages)
        return HTMLResponse(text, headers={"content-security-policy": POLICY, "cache-control": "no-cache"})

    async def events(request: Request) -> Response:
        if status.is_full:
            raise HTTPException(Overloaded.status)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        limit = longest if OURS in request.scope else min(longest, LONGEST_ELSEWHERE)
        parts = _nothing() if request.method == "HEAD" else status.watch(limit)
        return StreamingResponse(parts, media_type="text/event-stream", headers=headers)

    async def data(_: Request) -> Response:
        return Response(await status.read(), media_type="application/json", headers={"cache-control": "no-store"})

    for path, endpoint in ((STATUS, page), (f"{STATUS}/events", events), (f"{STATUS}/data", data)):
        app.add_route(path, endpoint, include_in_schema=False)


class Status:
    """Keeps the history of the last minutes. While there are watchers it makes a state every INTERVAL, once for all of
    them. `run` does this work while the gateway serves."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._history = History(sources.boards)
        self._seen = ServicesSeen(sources.links)
        self.watchers = 0
        self._asked_at = -LINGER
        self._number = 0
        self._state: dict[str, Any] = {}
        self._whole = self._changes = b""
        self._rows: dict[str, object] = {}
        self._is_made = asyncio.Event()

    @property
    def title(self) -> str:
        """The current title of the API."""
        return self._sources.find_title()

    @property
    def is_full(self) -> bool:
        """Whether there are already MOST_WATCHERS."""
        return self.watchers >= MOST_WATCHERS

    async def run(self) -> None:
        """Keep the history, make the states, and ask the services, until this is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_sampling())
            tasks.create_task(self._keep_asking())

    def watch(self, limit: float) -> AsyncIterator[bytes]:
        """Server-sent events: first the whole state, then changes. They end after `limit` seconds, or when the gateway
        stops. The stream counts as a watcher from this call on."""
        start = self._number if self._is_watched else self._number + 1
        return self._write_events(_Place(self), start, time.monotonic() + limit)

    async def _write_events(self, place: "_Place", due: int, end: float) -> AsyncIterator[bytes]:
        is_first = True
        try:
            while not self._sources.is_draining() and (is_first or time.monotonic() < end):
                if self._number >= due and self._state:
                    is_next = self._number == due and not is_first
                    yield _write_event(self._changes if is_next else self._write_whole())
                    is_first, due = False, self._number + 1
                else:
                    await self._is_made.wait()
            if self._sources.is_draining():
                yield b"event: bye\ndata: {}\n\n"
        finally:
            place.leave()

    async def read(self) -> bytes:
        """The whole state as JSON. It is at most two INTERVALs old."""
        was_watched, self._asked_at = self._is_watched, time.monotonic()
        number = self._number
        while not self._state or not (was_watched or self._number > number):
            await self._is_made.wait()
        return self._write_whole()

    def _write_whole(self) -> bytes:
        """The whole state. It is encoded once for all watchers."""
        self._whole = self._whole or encode_json(self._state)
        return self._whole

    @property
    def _is_watched(self) -> bool:
        return self.watchers > 0 or time.monotonic() - self._asked_at < LINGER

    async def _keep_sampling(self) -> None:
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due or (self._is_watched and due - now > INTERVAL):
                await self._sample(now)
                cost = time.monotonic() - now
                due = now + max(INTERVAL if self._is_watched else STEP, cost / MOST_WORK)
            if self._sources.is_draining():
                self._wake()
            await asyncio.sleep(TICK)

    async def _sample(self, now: float) -> None:
        await run_in_pieces(self._history.sample(now))
        if self._is_watched:
            self._take(await run_in_pieces(describe_state(self._sources, self._history, self._seen)))

    def _take(self, state: dict[str, Any]) -> None:
        rows = {row["name"]: row for row in state["routes"]}
        changed = [row for name, row in rows.items() if row != self._rows.get(name)]
        is_same_set = rows.keys() == self._rows.keys()
        self._state, self._whole = state, b""
        self._changes = encode_json(state | {"whole": False, "routes": changed}) if is_same_set else self._write_whole()
        self._rows = rows
        self._number += 1
        self._wake()

    def _wake(self) -> None:
        made, self._is_made = self._is_made, asyncio.Event()
        made.set()

    async def _keep_asking(self) -> None:
        while True:
            if self._is_watched:
                await self._seen.ask(self._sources.find_routes())
            await asyncio.sleep(TICK)


class _Place:
    """The place of one watcher, until `leave`. If its stream never begins, it leaves when this object is deleted."""

    def __init__(self, status: Status) -> None:
        self._status: Status | None = status
        status.watchers += 1

    def leave(self) -> None:
        """Give up the place. Further calls do nothing."""
        if self._status is not None:
            self._status.watchers -= 1
            self._status = None

    __del__ = leave


def _write_event(data: bytes) -> bytes:
    return b"event: state\ndata: %b\n\n" % data


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes it a generator
