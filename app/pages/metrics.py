"""`/metrics`, for Prometheus: the text format, and OpenMetrics for who asks for it in `Accept`."""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..observe.board import Boards
from ..observe.prometheus import FORMS, Form, choose_form, write_metrics
from ..pieces import run_in_pieces

REST = 4  # times as long as all metrics took to write: then they may be written again
LONGEST_REST = 5.0  # seconds

_ABOUT = {"version": __version__, "python": platform.python_version()}


def add_metrics(app: FastAPI, metrics: "Metrics") -> None:
    """Serve them at `/metrics`."""

    async def show(request: Request) -> Response:
        form = choose_form(",".join(request.headers.getlist("accept")))
        headers = {"content-type": form.media_type, "cache-control": "no-store", "vary": "Accept"}
        return Response(await metrics.write(form), headers=headers)

    app.add_route("/metrics", show, include_in_schema=False)


class Metrics:
    """The metrics of all processes, as text. `report` has this process write its gauges first.

    Those who ask at the same time get the same text, which was begun after the last of them had asked. So however many
    ask, one text at a time is written, in short steps, and then there is a rest: requests hardly notice it."""

    def __init__(self, boards: Boards, report: Callable[[], None]) -> None:
        self._boards = boards
        self._report = report
        self._turns = {form: _Turns(partial(self._make, form)) for form in FORMS}

    async def write(self, form: Form) -> bytes:
        """All metrics, as of a moment after this was called."""
        return await self._turns[form].take()

    async def _make(self, form: Form) -> bytes:
        self._report()
        return await run_in_pieces(write_metrics(self._boards, form, about=_ABOUT))


class _Turns:
    """One making at a time, for all who have asked before it began."""

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._begun = 0
        self._made = 0
        self._text = b""
        self._free_at = 0.0

    async def take(self) -> bytes:
        begun = self._begun
        async with self._lock:
            if self._made <= begun:
                await asyncio.sleep(self._free_at - time.monotonic())
                await self._make_next()
            return self._text

    async def _make_next(self) -> None:
        self._begun = number = self._begun + 1
        start = time.monotonic()
        try:
            self._text = await self._make()
            self._made = number
        finally:
            end = time.monotonic()
            self._free_at = end + min(REST * (end - start), LONGEST_REST)
