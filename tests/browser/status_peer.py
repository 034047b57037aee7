"""A peer of the status page that speaks its protocol with made-up numbers, for tests of the page alone.

`python -m tests.browser.status_peer` serves it with numbers that move, to look at.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount

from app.pages.assets import Assets, add_assets
from app.pages.status_page import POLICY, write_status_page
from tests.browser.status_sample import State, move, write_sample
from tests.harness import eventually

ROOT = "/api"
_EVENTS = {"cache-control": "no-store"}


class StatusPeer:
    """`state` is what it answers with. Without `has_events` it has only snapshots; with `is_failing` not even those."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.has_events = True
        self.is_failing = False
        self._listeners: set[asyncio.Queue[str | None]] = set()
        app = FastAPI(openapi_url=None)
        self.app = Starlette(routes=[Mount(ROOT, app)])
        self._assets = Assets()
        add_assets(app, self._assets)
        for path, endpoint in (("", self._page), ("/events", self._events), ("/data", self._data)):
            app.add_route(f"/status{path}", endpoint)

    def show(self, state: State, *, rows: list[State] | None = None) -> None:
        """Sends a state, with all rows or only these; later snapshots have it whole."""
        self.state = state
        part = state if rows is None else state | {"whole": False, "routes": rows}
        self.say("state", part)

    def say(self, event: str, data: object) -> None:
        for listener in self._listeners:
            listener.put_nowait(_write_event(event, data))

    def hang_up(self) -> None:
        for listener in self._listeners:
            listener.put_nowait(None)

    async def wait_for_listener(self) -> None:
        await eventually(lambda: self._listeners)

    async def _page(self, _: Request) -> Response:
        page = await write_status_page(self._assets, self.state["title"], ROOT)
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    async def _data(self, _: Request) -> Response:
        return Response(status_code=502) if self.is_failing else JSONResponse(self.state)

    async def _events(self, _: Request) -> Response:
        if self.is_failing or not self.has_events:
            return Response(status_code=404)
        return StreamingResponse(self._follow(), media_type="text/event-stream", headers=_EVENTS)

    async def _follow(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str | None] = asyncio.Queue(1000)
        self._listeners.add(queue)
        try:
            yield "retry: 500\n" + _write_event("state", self.state)
            while (text := await self._wait(queue)) is not None:
                yield text
        finally:
            self._listeners.discard(queue)

    async def _wait(self, queue: asyncio.Queue[str | None]) -> str | None:
        """Each second a state comes, also where there is no news."""
        try:
            return await asyncio.wait_for(queue.get(), 1)
        except TimeoutError:
            return _write_event("state", self.state | {"whole": False, "routes": []})


def _write_event(event: str, data: object) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


@contextlib.asynccontextmanager
async def run_peer(peer: StatusPeer, port: int = 0) -> AsyncIterator[str]:
    """The peer on a real socket; its address with the root path."""
    config = uvicorn.Config(peer.app, port=port, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    try:
        await eventually(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{ROOT}"
    finally:
        peer.hang_up()
        server.should_exit = server.force_exit = True
        await running


async def _show_moving(port: int) -> None:
    peer = StatusPeer(write_sample(time.time()))
    async with run_peer(peer, port) as url:
        print(f"{url}/status", flush=True)
        while True:
            await asyncio.sleep(1)
            state: dict[str, Any] = deepcopy(peer.state)
            rows = move(state, random.Random())  # noqa: S311 - numbers to look at
            peer.show(state, rows=rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show_moving(8099))
