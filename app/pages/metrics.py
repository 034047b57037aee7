"""`/metrics`, in the text format of Prometheus, or as OpenMetrics if `Accept` asks for it."""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .. import __version__
from ..formats.clusters import MAIN
from ..observe.board import Boards
from ..observe.prometheus import FORMS, Form, choose_form, write_metrics
from ..pieces import run_in_pieces
from .assets import cut

REST = 4  # a pause takes this many times as long as the last text took to write
LONGEST_REST = 5.0  # seconds
PATIENCE = 0.2  # seconds: the longest wait of a request for the end of a pause

_ABOUT = {"version": __version__, "python": platform.python_version()}


def add_metrics(app: FastAPI, metrics: "Metrics") -> None:
    """Serve the metrics at `/metrics`."""

    async def show(request: Request) -> Response:
        form = choose_form(",".join(request.headers.getlist("accept")))
        text = await metrics.write(form)
        headers = {"content-type": form.media_type, "cache-control": "no-store", "vary": "Accept"}
        return StreamingResponse(cut(text), headers={**headers, "content-length": str(len(text))})

    app.add_route("/metrics", show, include_in_schema=False)


class Metrics:
    """The metrics of all processes, as text. `report` makes this process write its gauges first. `clusters`
    are the names of the NATS clusters.

    However many callers ask, one text at a time is written, in short steps, and then there is a pause. So requests
    hardly notice it. If the rest of the pause is long, callers get the last text, which is at most LONGEST_REST old,
    unless there is a newer one in another process or form: no counter goes back, whichever process is asked.
    """

    def __init__(self, boards: Boards, report: Callable[[], None], clusters: Sequence[str] = (MAIN,)) -> None:
        self._boards = boards
        self._report = report
        self._clusters = clusters
        self._turns = {form: _Turns(partial(self._make, form), partial(self._find_newest, form)) for form in FORMS}

    async def write(self, form: Form) -> bytes:
        """All metrics, as they are after this call, or at most LONGEST_REST before it."""
        return await self._turns[form].take()

    async def _make(self, form: Form) -> bytes:
        self._report()
        text = await run_in_pieces(write_metrics(self._boards, form, about=_ABOUT, clusters=self._clusters))
        self._boards.own.mark_read()
        return text

    def _find_newest(self, form: Form) -> float:
        """When the newest text was whole, of those in another form or of another process."""
        others = [turns.end for other, turns in self._turns.items() if other is not form]
        return max(others + [board.last_read for board in self._boards.all[1:]])


class _Turns:
    """Makes one text at a time. All callers who asked before it began get the same text. `find_newest` says when the
    newest text of all others was whole."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], find_newest: Callable[[], float]) -> None:
        self.end = 0.0
        """When the last text was whole."""
        self._make = make
        self._find_newest = find_newest
        self._lock = asyncio.Lock()
        self._begun = 0
        self._made = 0
        self._start = 0.0
        self._text = b""
        self._free_at = 0.0

    async def take(self) -> bytes:
        """The next text, or the last one if the pause is still long and there is no newer one."""
        begun = self._begun
        async with self._lock:
            rest = self._free_at - time.monotonic()
            if self._made <= begun and not (self._made and rest > PATIENCE and self._start >= self._find_newest()):
                await asyncio.sleep(rest)
                await self._make_next()
            return self._text

    async def _make_next(self) -> None:
        self._begun = number = self._begun + 1
        start = time.monotonic()
        try:
            self._text = await self._make()
            self._start, self._made = start, number
        finally:
            self.end = time.monotonic()
            self._free_at = self.end + min(REST * (self.end - start), LONGEST_REST)
