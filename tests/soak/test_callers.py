"""Callers of a soak know what an answer means, and what it means if there is none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.soak.callers import CLOSED, HOST, NO_ANSWER, Address, Caller, Request, Response, choose, read_response
from tests.soak.ledger import Answer, Claim, Ledger

REQUEST = Request(method="GET", path="/jobs/0", timeout=1.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0"


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[Address]:
    """A server that gives one answer after the other on a connection. After the last one it reads a request more, and
    closes the connection."""
    is_over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        with contextlib.suppress(EOFError):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        is_over.set()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield Address("one", server.sockets[0].getsockname()[1], is_ready=True)
        await is_over.wait()


async def test_answers_are_heard_and_counted() -> None:
    ledger = Ledger()
    async with answering(OK, OK) as address:
        caller = Caller([address], ledger)
        for _ in range(2):
            assert await caller.ask(REQUEST) == (Answer(Claim.YES, "200"), b"0")
        caller.close()
    assert (ledger.counts, ledger.by_gateway, ledger.wrong) == ({"200": 2}, {"one": 2}, [])


async def test_a_request_without_an_answer_is_wrong() -> None:
    ledger = Ledger()
    async with answering(OK) as address:
        caller = Caller([address], ledger)
        await caller.ask(REQUEST)
        assert await caller.ask(REQUEST) == (NO_ANSWER, b"")
    assert ledger.wrong == ["GET /jobs/0: no answer, on request 2"]


@pytest.mark.parametrize("has_stopped", [False, True])
async def test_a_gateway_that_stops_may_close_a_connection_that_was_idle(has_stopped: bool) -> None:
    ledger = Ledger()
    async with answering(OK) as address:
        caller = Caller([address], ledger)
        await caller.ask(REQUEST)
        address.is_stopping, address.generation = not has_stopped, int(has_stopped)
        assert await caller.ask(REQUEST) == (CLOSED, b"")
    assert ledger.wrong == []


async def test_a_gateway_that_stops_answers_the_first_request_of_a_connection() -> None:
    ledger = Ledger()
    async with answering() as address:
        address.is_stopping = True
        assert await Caller([address], ledger).ask(REQUEST) == (NO_ANSWER, b"")
    assert ledger.wrong == ["GET /jobs/0: no answer, on request 1"]


async def test_a_caller_goes_where_a_gateway_is_ready() -> None:
    ready, other = Address("one", 1, is_ready=True), Address("two", 2)
    assert {choose([other, ready]).name for _ in range(20)} == {"one"}


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (Response(200, is_problem=False, is_last=False, body=b"hello"), Answer(Claim.YES, "200")),
        (Response(201, is_problem=False, is_last=False, body=b'{"seq": 4}'), Answer(Claim.YES, "201", seq=4)),
        (
            Response(503, is_problem=True, is_last=False, body=b'{"type": "/problems/overloaded", "delivered": "no"}'),
            Answer(Claim.NO, "overloaded"),
        ),
        (
            Response(500, is_problem=True, is_last=False, body=b'{"type": "about:blank"}'),
            Answer(Claim.NOTHING, "about:blank"),
        ),
    ],
)
def test_a_response_is_understood(response: Response, answer: Answer) -> None:
    assert response.understand() == answer


async def test_a_response_that_is_cut_short_is_none() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
    assert await read_response(reader) == Response(200, is_problem=False, is_last=True, body=b"hello")
    reader.feed_data(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")
    reader.feed_eof()
    with pytest.raises(EOFError):
        await read_response(reader)
