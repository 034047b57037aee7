"""The truth about a load: what its callers were told, beside what really ran.

Every request has an id of its own, the last segment of its path. A `Witness` answers it and notes that it ran; the
callers of a `Load` note their answers; `Load.check` compares.
"""

import asyncio
import bisect
import contextlib
import json
import math
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httptools

from tests.harness import PATIENCE, RawPeer, eventually
from tests.pace import SLOWNESS

CALLERS = 50
LATE_WHERE_LOADED = 0.25 * SLOWNESS  # seconds after its deadline that an answer may come
LATE = 0.05 if SLOWNESS < 2 else LATE_WHERE_LOADED  # a slow machine is loaded by what these tests ask of it
LOADED = 0.01  # seconds that a timer of this process comes late where the machine is loaded
STARVED, SPAN = 0.3, 0.05  # the part of some seconds in which somebody waited for a processor, where it is loaded
PRESSURE, STATISTICS = Path("/proc/pressure/cpu"), Path("/proc/stat")  # of Linux
EARLY = 0.01  # seconds before its deadline that a timeout may come: the deadline is in whole milliseconds
START = 0.2  # seconds for callers to connect and to ask
QUIET = 0.5  # seconds without a request until nothing is taken to come any more


class Witness:
    """Answers `jobs.ID` and `load.ID` with the id, `delay` seconds after it has noted that it ran."""

    def __init__(self, *, delay: float = 0.0) -> None:
        self.ran: defaultdict[str, list[float]] = defaultdict(list)
        """By id the instants at which a request ran."""
        self.delay = delay
        self._last = 0.0

    def note(self, subject: str) -> bytes:
        """The request runs. Returns its reply."""
        name = subject.rpartition(".")[2]
        self.take(name)
        return name.encode()

    def take(self, name: str) -> None:
        """The request of this id runs."""
        self._last = time.monotonic()
        self.ran[name].append(self._last)

    @contextlib.asynccontextmanager
    async def answering(self, url: str) -> AsyncIterator[Self]:
        """On a connection that is made anew as often as it is lost; subscribed when it is entered."""
        subscribed = asyncio.Event()
        task = asyncio.create_task(self._answer(url, subscribed))
        try:
            await asyncio.wait_for(subscribed.wait(), PATIENCE)
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _answer(self, url: str, subscribed: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with RawPeer.connect(url, "jobs.* q", "load.* q") as peer:
                    subscribed.set()
                    while True:
                        message = await peer.next(timeout=3600)
                        payload = self.note(message.subject)
                        line = b"PUB %b %d\r\n%b\r\n" % (message.reply, len(payload), payload)
                        asyncio.get_running_loop().call_later(self.delay, peer.write, line)
            await asyncio.sleep(0.01)

    async def wait_until_quiet(self) -> None:
        """Until nothing has run for a while, so that what was on its way has come."""
        await eventually(lambda: time.monotonic() - self._last > QUIET)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told: instants, and for a problem its slug and what it says about delivery."""

    id: str
    began: float
    ended: float
    deadline: float
    status: int
    body: bytes = b""
    slug: str = ""
    delivered: str = ""
    retry_after: str = ""

    @property
    def kind(self) -> str:
        """In the words of a table."""
        if not self.status:
            return "no answer"
        return f"{self.slug} ({self.delivered})" if self.slug else str(self.status)


class Caller(asyncio.Protocol):
    """One keep-alive connection; a request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionError("closed without an answer"))

    def on_message_begin(self) -> None:
        self._body = b""
        self._headers: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    async def ask(self, name: str, *, path: str, timeout: float, body: bytes = b"") -> Answer:
        """The answer to a request for `path` with the id `name`; one with status 0 where none comes."""
        method = "POST" if body else "GET"
        head = f"{method} {path.format(id=name)} HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: {timeout * 1000:.0f}ms\r\n"
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n" if body else ""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, *self._address)
        assert self._transport is not None
        self._waiting = loop.create_future()
        began = time.monotonic()
        self._transport.write(f"{head}\r\n".encode() + body)
        try:
            await asyncio.wait_for(self._waiting, timeout + 5)
        except (OSError, TimeoutError):
            self.close()
            return Answer(name, began, time.monotonic(), began + timeout, 0)
        answer = self._read(name, began, began + timeout)
        if self._headers.get(b"connection") == b"close":
            self.close()
        return answer

    def _read(self, name: str, began: float, deadline: float) -> Answer:
        status = self._parser.get_status_code()
        about = json.loads(self._body) if b"problem" in self._headers.get(b"content-type", b"") else {}
        return Answer(
            name,
            began,
            time.monotonic(),
            deadline,
            status,
            self._body,
            about.get("type", "").removeprefix("/problems/"),
            about.get("delivered", ""),
            self._headers.get(b"retry-after", b"").decode(),
        )

    @property
    def is_closed(self) -> bool:
        return self._transport is None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class Load:
    """Callers that ask again and again, each for `path` with ever new ids. `timeout` is what they ask for, in seconds;
    `pause` the longest one between two requests; `echoes` whether a success has the id for a body; `reconnects` whether
    they go on after an answer that closes their connection."""

    def __init__(
        self,
        url: str,
        *,
        path: str = "/jobs/{id}",
        timeout: float = 1.0,
        body: bytes = b"",
        pause: float = 0.03,
        echoes: bool = True,
        reconnects: bool = True,
    ) -> None:
        self.answers: list[Answer] = []
        self._lags: list[float] = []
        """The instants at which the machine was loaded."""
        self.refused = 0
        """Callers that found nobody who took their connection."""
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 0
        self._path, self._timeout, self._body, self._pause = path, timeout, body, pause
        self._echoes = echoes
        self._reconnects = reconnects
        self._stopping = False

    @contextlib.asynccontextmanager
    async def running(self, callers: int = CALLERS) -> AsyncIterator[Self]:
        """With so many callers at work; all have their answers when it is left."""
        async with self.asking(callers):
            await eventually(lambda: len(self.answers) >= 2 * callers)
            yield self

    @contextlib.asynccontextmanager
    async def asking(self, callers: int) -> AsyncIterator[Self]:
        """The same, but answers are not waited for before it is entered: only for as long as it takes to ask."""
        tasks = [asyncio.create_task(self._call(f"{id(self):x}-{number}")) for number in range(callers)]
        watch = asyncio.create_task(self._measure_lag())
        try:
            await asyncio.sleep(START)
            yield self
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)
            watch.cancel()

    async def _call(self, prefix: str) -> None:
        caller = Caller(*self._address)
        count = 0
        while not self._stopping:
            count += 1
            name = f"{prefix}-{count}"
            try:
                self.answers.append(await caller.ask(name, path=self._path, timeout=self._timeout, body=self._body))
            except OSError:  # of the attempt to connect
                self.refused += 1
                return
            if caller.is_closed and not self._reconnects:
                return
            await asyncio.sleep(random.uniform(0, self._pause))  # noqa: S311 - a load
        caller.close()

    async def _measure_lag(self) -> None:
        since, waited = time.monotonic(), read_waiting()
        while True:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            now = time.monotonic()
            is_loaded = now - due > LOADED
            if now - since > SPAN:
                span, waited_before, since, waited = now - since, waited, now, read_waiting()
                is_loaded |= waited - waited_before > STARVED * span
            if is_loaded:
                self._lags.append(now)

    def count(self) -> Counter[str]:
        """How many answers there are of each kind."""
        return Counter(answer.kind for answer in self.answers)

    @property
    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    @property
    def lateness(self) -> float:
        """The most that an answer came after its deadline, in seconds; below 0 if all came before."""
        return max(answer.ended - answer.deadline for answer in self.answers)

    def first(self, is_wanted: Callable[[Answer], bool], *, since: float) -> float:
        """Seconds from the instant `since` to the first such answer to a request that began after it, else infinity."""
        ends = [answer.ended for answer in self.answers if answer.began >= since and is_wanted(answer)]
        return min(ends, default=math.inf) - since

    async def wait_for_recovery(self, *, since: float, kind: str = "200") -> float:
        """Until all callers have success again, or answers of another kind; seconds from the instant `since` to the
        first one."""

        def recovered() -> bool:
            last = self.answers[-CALLERS:]
            return min(answer.began for answer in last) > since and all(answer.kind == kind for answer in last)

        await eventually(recovered)
        return self.first(lambda answer: answer.kind == kind, since=since)

    async def check(self, witness: Witness, *, stopped: bool = False) -> None:
        """Every answer came in time and is true. Nobody was refused, unless the gateway was stopped."""
        assert stopped or not self.refused
        await witness.wait_until_quiet()
        lies = [
            (lie, answer)
            for answer in self.answers
            for lie in find_lies(answer, witness, self._find_limit(answer), self._echoes)
        ]
        assert not lies, f"{len(lies)} lies, the first of them: {lies[:3]}"

    def _find_limit(self, answer: Answer) -> float:
        """How late it may come: more where the machine was loaded while it was waited for."""
        near = bisect.bisect_left(self._lags, answer.began)
        is_loaded = near < len(self._lags) and self._lags[near] < answer.ended + LATE_WHERE_LOADED
        return LATE_WHERE_LOADED if is_loaded else LATE


def read_waiting() -> float:
    """Seconds so far in which some process here was ready, and had no processor, or this machine had none. Where it is
    not told, as if there always were one: then each answer may come as late as on a loaded machine."""
    try:
        pressure = int(PRESSURE.read_text().split("total=")[1].split()[0]) / 1e6
        stolen = int(STATISTICS.read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, LookupError):
        return time.monotonic()
    return pressure + stolen


def find_lies(answer: Answer, witness: Witness, limit: float, echoes: bool) -> list[str]:
    """What is wrong with an answer, given what ran; it may come `limit` seconds after its deadline."""
    runs = len(witness.ran.get(answer.id, ()))
    claims = "yes" if answer.status == 200 else answer.delivered
    found = {
        "no answer": not answer.status,
        f"{answer.ended - answer.deadline:.3f} s after its deadline": answer.ended > answer.deadline + limit,
        "a timeout before the deadline": answer.slug == "timeout" and answer.ended < answer.deadline - EARLY,
        "it ran twice": runs > 1,
        "it ran, and the caller was told that it did not": claims == "no" and runs,
        "it did not run, and the caller was told that it did": claims == "yes" and not runs,
        "an answer to another request": echoes and answer.status == 200 and answer.body != answer.id.encode(),
        "a problem that says nothing about delivery": answer.status and claims not in ("yes", "no", "unknown"),
    }
    return [words for words, holds in found.items() if holds]
