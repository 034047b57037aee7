"""Many callers at once: they are taken in a few turns. With large bodies, the gateway waits for the NATS server, and it
keeps no body that it has sent."""

import asyncio
import gc
import socket
import tracemalloc
from collections import Counter
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import uvloop
from nats.aio.msg import Msg

from app.formats.messages import Reply
from app.http.arrivals import FEW, MOST, SHARE, Arrivals
from app.http.caller_watch import WATCH_AFTER
from app.http.sockets import bind
from app.main import build_gateway
from app.routing.routes import Route
from app.settings import Settings
from tests.harness import PATIENCE, Gateway, NatsServer, RawPeer, eventually, responder, run_gateway

ECHO = Route(name="echo", methods=("POST",), path="/echo", subject="echo", payload="body")
BODY = b"x" * 900_000


async def measure(msg: Msg) -> None:
    await msg.respond(b"%d" % len(msg.data))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NATS server that gets no processor for a quarter of a second, on a busy machine, is not taken to be stuck."""
    monkeypatch.setattr("app.nats.outgoing.PATIENT_LOOKS", 200)


CROWD = MOST + 50  # callers


def connect(port: int, count: int, stack: ExitStack) -> list[socket.socket]:
    """Callers who come together: the kernel answers them, and the event loop has no turn meanwhile."""
    return [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


def test_callers_who_come_together_are_accepted_several_in_a_turn_of_the_event_loop(shared_nats: NatsServer) -> None:
    async def accept_crowd() -> list[int]:
        async with run_gateway(shared_nats.url) as gateway:
            connections: set[Any] = gateway.server.server_state.connections  # of our protocol
            known, accepted = set(connections), [0]
            with ExitStack() as stack:
                callers = connect(gateway.port, 160, stack)
                while len(connections - known) < len(callers):
                    await asyncio.sleep(0)
                    accepted.append(len(connections - known))
                assert {one.client for one in connections - known} == {caller.getsockname() for caller in callers}
                for caller in callers:
                    caller.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert (await asyncio.to_thread(caller.recv, 4096)).startswith(b"HTTP/1.1 200 ")
            return [after - before for before, after in pairwise(accepted)]

    turns = uvloop.run(accept_crowd())
    assert len(turns) < 40
    assert max(turns) <= FEW + 1, "requests and other processes have their turn too"


@pytest.mark.parametrize(("answers", "accepted"), [(0, FEW), (FEW * SHARE, FEW), (50 * SHARE, 50), (5000, MOST)])
def test_the_more_requests_are_answered_the_more_callers_are_accepted(answers: int, accepted: int) -> None:
    """Else a new caller beside 1,000 busy ones would wait for seconds."""

    async def count_left() -> int:
        counts = iter((7000, 7000 + answers))
        with bind("127.0.0.1", 0) as listener, ExitStack() as stack:
            connect(listener.getsockname()[1], CROWD, stack)
            arrivals = Arrivals([listener], asyncio.Protocol, lambda: next(counts))
            arrivals.note()
            arrivals.note()
            await asyncio.sleep(0)
            left = 0
            with suppress(BlockingIOError):
                while True:
                    stack.enter_context(listener.accept()[0])
                    left += 1
            await asyncio.sleep(0.1)  # the accepted ones begin
            return left

    assert uvloop.run(count_left()) == CROWD - accepted


class SharedSocket(socket.socket):
    """Remembers each time that it, or a copy of it, was set to block: then it blocks in all processes that have it."""

    blocked: ClassVar[list[float | None]] = []

    def settimeout(self, seconds: float | None, /) -> None:
        if seconds != 0:
            self.blocked.append(seconds)
        super().settimeout(seconds)


async def test_a_worker_that_starts_never_makes_the_socket_of_the_others_block(shared_nats: NatsServer) -> None:
    """One that finds no connection to accept would wait for the next one, with all of its requests."""
    settings = Settings(nats_url=(shared_nats.url,))
    server = build_gateway(settings, routes=[ECHO]).make_server(lane=None, drain_timeout=1.0)
    with bind("127.0.0.1", 0) as listener, SharedSocket(fileno=listener.detach()) as shared:
        running = asyncio.create_task(server._serve([shared]))
        await eventually(lambda: server.started)
        server.should_exit = True
        await running
    assert SharedSocket.blocked == []


async def test_a_stop_does_not_wait_for_callers_who_have_gone(shared_nats: NatsServer) -> None:
    async def keep_waiting(_: Msg) -> None: ...

    settings = Settings(nats_url=(shared_nats.url,))
    gateway = build_gateway(settings, routes=[Route(name="a", methods=("GET",), path="/a", subject="a", timeout=60.0)])
    server = gateway.make_server(lane=None, drain_timeout=PATIENCE)
    async with responder(shared_nats.url, "a", keep_waiting):
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            running = asyncio.create_task(server._serve([listener]))
            await eventually(lambda: server.started and gateway.link.reason is None)
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n")
                await eventually(lambda: gateway.link.in_flight)
                writer.close()
            server.should_exit = True
            async with asyncio.timeout(PATIENCE / 2):
                await running


@pytest.mark.usefixtures("patience")
async def test_many_large_bodies_at_once_are_all_sent(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        responder(shared_nats.url, "echo", measure),
    ):
        headers = {"x-request-timeout": "30s"}
        posts = (gateway.client.post("/echo", content=BODY, headers=headers) for _ in range(40))
        answers = Counter((answer.status_code, answer.content) for answer in await asyncio.gather(*posts))
        assert answers == {(200, b"900000"): 40}


@pytest.mark.usefixtures("patience")
async def test_more_than_the_server_may_leave_untaken_in_one_turn_is_no_reason_to_refuse(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nats.outgoing.MAX_BACKLOG", 1_000_000)
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        responder(shared_nats.url, "echo", measure),
    ):
        headers = {"x-request-timeout": "30s"}
        for _ in range(3):
            posts = (gateway.client.post("/echo", content=BODY, headers=headers) for _ in range(16))
            assert {answer.status_code for answer in await asyncio.gather(*posts)} == {200}


async def post(gateway: Gateway, count: int) -> list[asyncio.StreamWriter]:
    """From connections that keep nothing themselves, so that what is measured is the gateway's."""
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 30s\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head)
        for start in range(0, len(BODY), 100_000):
            writer.write(BODY[start : start + 100_000])
            await writer.drain()
        writers.append(writer)
    return writers


async def test_a_body_that_was_sent_is_not_kept_until_the_answer(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        RawPeer.connect(shared_nats.url, "echo") as peer,
    ):
        for writer in await post(gateway, 1):  # so that what is made once is there
            assert len((await peer.next()).payload) == len(BODY)
            writer.close()
        await eventually(lambda: gateway.link.in_flight == 0)
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            writers = await post(gateway, 20)
            for _ in writers:
                assert len((await peer.next()).payload) == len(BODY)
            assert gateway.link.in_flight == 20
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 4 * len(BODY)
        for writer in writers:
            writer.close()
        await eventually(lambda: gateway.link.in_flight == 0)


async def test_a_late_reply_is_not_kept_after_its_answer(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ECHO]) as gateway,
        RawPeer.connect(shared_nats.url, "echo") as peer,
    ):
        writers = await post(gateway, 10)
        requests = [await peer.next() for _ in writers]
        await asyncio.sleep(2 * WATCH_AFTER)  # the lane looks by now whether its callers have gone
        gc.collect()
        gc.disable()  # what lives on now is kept by something
        try:
            for request in requests:
                peer.write(b"PUB %b %d\r\n%b\r\n" % (request.reply, len(BODY), BODY))
            await eventually(lambda: gateway.link.in_flight == 0)
            for writer in writers:
                writer.transport.abort()
            await eventually(lambda: not count_replies())
        finally:
            gc.enable()


def count_replies() -> int:
    return sum(isinstance(one, Reply) for one in gc.get_objects())
