"""The requests and the messages of a soak: what callers send, and which answers are right."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from tests.soak.callers import CLOSED, Address, Caller, Request
from tests.soak.ledger import Claim, Ledger
from tests.soak.service import make_reply

KEY, WRONG_KEY = "k" * 40, "w" * 40
JSON = "Content-Type: application/json\r\n"
CALLERS, POSTERS = 24, 4
PAUSE, POST_PAUSE = 0.12, 0.4  # seconds between two requests of a caller, at most
TIMEOUT, BRIEF = 2.0, 0.3  # seconds
AWAY = frozenset({"not-connected", "connection-lost", "timeout", "no-responders", "draining", CLOSED.kind})
"""Answers that any request may get while a node of NATS or a gateway goes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A kind of request. `weight` is how often it is asked."""

    weight: int
    path: str
    is_right: str
    """The answer that it has."""
    runs_as: str = ""
    """The kind of reply, if it has one."""
    headers: str = ""
    body: bytes = b""
    """`%d` in it becomes the number of the request."""
    timeout: float = TIMEOUT
    is_refused: bool = False
    """Whether the gateway itself answers it: then NATS does not matter."""

    def allows(self, kind: str) -> bool:
        """Whether this answer may be."""
        return kind == self.is_right or kind in ({CLOSED.kind} if self.is_refused else AWAY)

    def make(self, number: int) -> Request:
        """The request of this number."""
        body = self.body % number if b"%d" in self.body else self.body
        method = "POST" if body else "GET"
        path = self.path.format(number)
        return Request(method=method, path=path, timeout=self.timeout, headers=self.headers, body=body)


QUESTIONS: Mapping[str, Question] = {
    "small": Question(weight=40, path="/jobs/{}", is_right="200", runs_as="work"),
    "with a key": Question(weight=8, path="/known/{}", is_right="200", runs_as="work", headers=f"X-API-Key: {KEY}\r\n"),
    "a wrong key": Question(
        weight=4,
        path="/known/{}",
        is_right="unauthenticated",
        is_refused=True,
        headers=f"X-API-Key: {WRONG_KEY}\r\n",
    ),
    "a small body": Question(weight=16, path="/upload/{}", is_right="200", runs_as="upload", body=b"%d " + b"x" * 100),
    "a large body": Question(weight=1, path="/upload/{}", is_right="200", runs_as="upload", body=b"x" * 600_000),
    "a checked body": Question(
        weight=8,
        path="/checked/{}",
        is_right="200",
        runs_as="upload",
        headers=JSON,
        body=b'{"id": %d}',
    ),
    "a wrong body": Question(
        weight=4,
        path="/checked/{}",
        is_right="invalid-body",
        is_refused=True,
        headers=JSON,
        body=b'{"id": "%d"}',
    ),
    "a large reply": Question(weight=2, path="/large/{}", is_right="200", runs_as="large"),
    "an error of the service": Question(weight=4, path="/failing/{}", is_right="service-error"),
    "nobody answers": Question(weight=4, path="/nobody/{}", is_right="no-responders"),
    "a service that is silent": Question(weight=2, path="/silent/{}", is_right="timeout", timeout=BRIEF),
}
KINDS, WEIGHTS = list(QUESTIONS), [question.weight for question in QUESTIONS.values()]


@dataclass(slots=True)
class Load:
    """Callers that ask and post again and again, until they are asked to stop."""

    addresses: list[Address]
    ledger: Ledger
    asked: set[str] = field(default_factory=set)
    """The kinds of questions that had their right answer."""
    _numbers: count = field(default_factory=count)  # type: ignore[type-arg] # of messages
    _is_stopping: bool = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All have their answers when it is left."""
        self._is_stopping = False
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._ask_all())
            for _ in range(POSTERS):
                tasks.create_task(self._post_all())
            try:
                yield
            finally:
                self._is_stopping = True

    async def _ask_all(self) -> None:
        caller = Caller(self.addresses, self.ledger)
        while not self._is_stopping:
            (kind,) = random.choices(KINDS, WEIGHTS)  # noqa: S311 - a load
            await self._ask(caller, kind)
            await asyncio.sleep(random.uniform(0, PAUSE))  # noqa: S311
        caller.close()

    async def _ask(self, caller: Caller, kind: str) -> None:
        question, number = QUESTIONS[kind], self.ledger.begin()
        answer, body = await caller.ask(question.make(number))
        self.ledger.note(number, answer)
        if not question.allows(answer.kind):
            self.ledger.blame(f"{kind}: request {number} was answered {answer.words}")
        elif answer.kind == question.is_right:
            self.asked.add(kind)
            if question.runs_as and body != make_reply(question.runs_as, str(number)):
                self.ledger.blame(f"{kind}: request {number} has another body: {body[:40]!r}")

    async def _post_all(self) -> None:
        """Each second message has a key, and is sent again until it is stored."""
        caller = Caller(self.addresses, self.ledger)
        while not self._is_stopping:
            number = next(self._numbers)
            self.ledger.posted[number] = []
            while not await self._post(caller, number) and number % 2:
                await asyncio.sleep(0.1)
            await asyncio.sleep(random.uniform(0, POST_PAUSE))  # noqa: S311
        caller.close()

    async def _post(self, caller: Caller, number: int) -> bool:
        """Whether it is stored now."""
        key = f"Idempotency-Key: soak-{number}\r\n" if number % 2 else ""
        body = b"%d" % number
        request = Request(method="POST", path=f"/orders/{number % 7}", timeout=1.0, headers=key, body=body)
        answer, _ = await caller.ask(request)
        self.ledger.posted[number].append(answer)
        return answer.claim is Claim.YES
