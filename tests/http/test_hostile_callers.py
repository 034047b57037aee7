"""Whatever hostile callers show, they are refused with the right status, and who is known is answered meanwhile.

HOSTILE_REPORT=path writes the table there, as Markdown.
"""

import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from app.http.lane import LaneName
from app.main import build_gateway
from app.routefile.load import load_route_file
from app.settings import Settings
from tests.certificates import Authority
from tests.harness import PATIENCE, Gateway, NatsServer, responder, serve
from tests.http.hostile import KEYS, KNOWN, ROUTES, ROWS, K, Row, show_none, write_request
from tests.http.test_behind_proxies import PROXY
from tests.issuer import make_jwks

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEAR = 0.25  # seconds of CPU that a request and its answer may take, with those of a bystander: both ends are here
BYSTANDER = Row(kind="key", name="one that is known", status=200, target="/key", fields=(K + KNOWN,))
TITLES = ("input", "lane", "answer")


@dataclass(frozen=True)
class Stage:
    """Gateways with the same routes: `plain`, behind a proxy that says at the beginning of a connection who calls, and
    over TLS. `seen` are the subjects of requests that came to the service, but for those of a bystander."""

    lane: LaneName
    plain: Gateway
    announced: Gateway
    secured: Gateway
    authority: Authority
    seen: list[str]

    def prepare(self, row: Row) -> ssl.SSLContext | None:
        """The side of its caller, if the row is about TLS."""
        return None if row.shows is None else self.authority.trust(row.shows(self.authority.ca))

    async def send(self, row: Row, tls: ssl.SSLContext | None, number: int = 0) -> bytes:
        """All that comes back."""
        gateway = self.plain if row.announces is None else self.announced
        port = self.secured.port if tls else gateway.port
        return await _exchange(port, write_request(row, number), source=row.source, tls=tls)


async def _exchange(port: int, data: bytes, *, source: str, tls: ssl.SSLContext | None) -> bytes:
    """Empty where the connection is closed without an answer."""
    names = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), **names)  # type: ignore[arg-type]
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.transport.abort()
    return b""


@pytest.fixture(scope="module", params=["fast", "asgi"])
def lane(request: pytest.FixtureRequest) -> LaneName:
    """In the place of the one that each test has: the gateways are those of all tests."""
    chosen: LaneName = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    lane: LaneName, shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("hostile")
    authority = Authority(folder / "tls")
    for name, text in {
        "routes.yaml": ROUTES,
        "keys.yaml": KEYS,
        "keys.json": json.dumps(make_jwks()),
        "ca.pem": authority.ca.cert_pem.bytes().decode(),
    }.items():
        (folder / name).write_text(text)
    seen: list[str] = []

    async def answer(msg: Msg) -> None:
        seen.append(msg.subject)
        told = "\n".join(f"{name}: {value}" for name, value in (msg.headers or {}).items())
        await msg.respond(told.encode())

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(responder(shared_nats.url, "h.>", answer))
        gateways: list[Gateway] = []
        for more in ({}, {"proxy_protocol": True}, {**authority.write(), **authority.write_client_ca()}):
            tls = authority.trust() if "tls_cert" in more else None
            values = {"nats_url": (shared_nats.url,), "trusted_proxies": (PROXY, "10.0.0.0/8", "2001:db8::/32"), **more}
            parts = build_gateway(Settings.model_validate(values), routes=load_route_file(folder / "routes.yaml"))
            gateways.append(await stack.enter_async_context(serve(parts, lane=lane, tls=tls)))
            await gateways[-1].wait_until_ready()
        plain, announced, secured = gateways
        yield Stage(lane, plain, announced, secured, authority, seen)


@pytest.fixture(scope="module")
def answered() -> Iterator[dict[tuple[str, str], dict[str, str]]]:
    """The answers by kind and name of a row, and by lane; they become a table."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    yield rows
    if path := os.environ.get("HOSTILE_REPORT"):
        Path(path).write_text(format_markdown(rows), encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}: {row.name}")
async def test_a_hostile_caller_is_refused_and_one_who_is_known_is_answered_meanwhile(
    stage: Stage, answered: dict[tuple[str, str], dict[str, str]], row: Row
) -> None:
    stage.seen.clear()
    other = stand_beside(row)
    theirs, ours = stage.prepare(row), stage.prepare(other)
    for number in range(row.times):
        began = time.thread_time()
        answer, known = await asyncio.gather(stage.send(row, theirs, number), stage.send(other, ours))
        spent = time.thread_time() - began
        assert known.startswith(b"HTTP/1.1 200 ")
        assert b"\nX-User: partner\n" in known
        assert spent < DEAR
    answered.setdefault((row.kind, row.name), {})[stage.lane] = describe(row, answer)
    check(row, answer, stage.seen)


def stand_beside(row: Row) -> Row:
    """One who is known, and asks the same gateway."""
    announces = None if row.announces is None else b""
    return replace(BYSTANDER, announces=announces, shows=None if row.shows is None else show_none)


def check(row: Row, answer: bytes, seen: list[str]) -> None:
    """Whether the answer is right, and nothing went to the service that it should not have."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert find_status(answer) == row.status, answer[:500]
    for text in row.has:
        assert text.encode("latin-1") in answer
    for text in row.lacks:
        assert text.encode("latin-1") not in answer
    if row.status >= 400 and b"application/problem+json" in head:
        problem = json.loads(body)
        assert (problem["status"], problem["delivered"]) == (row.status, "no")
    assert len(seen) == row.times + (row.status == 200)


def find_status(answer: bytes) -> int:
    """0 where there is no answer."""
    return int(answer[9:12] or 0)


def describe(row: Row, answer: bytes) -> str:
    """An answer, in the words of the table."""
    status = find_status(answer)
    if status == 0:
        return "the handshake fails"
    return f"{status}, and it has no effect" if status < 300 else str(status)


def format_markdown(answered: dict[tuple[str, str], dict[str, str]]) -> str:
    """A table with a line for each answer; one for both lanes where they answer alike."""
    lines = [TITLES, ("---",) * len(TITLES)]
    for (kind, name), answers in answered.items():
        for answer in dict.fromkeys(answers.values()):
            lanes = ", ".join(lane for lane, other in answers.items() if other == answer)
            lines.append((f"{kind}: {name}".replace("|", "\\|"), lanes, answer))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
