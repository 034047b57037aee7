"""What a route asks of its caller before anything is sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.edge.allow_from import AllowFrom
from app.edge.content_length import RequireLength
from app.edge.policy import AsyncCheck, Policy
from app.edge.request import Request
from app.errors import Forbidden, GatewayError
from app.routing.routes import Route
from tests.harness import NatsServer, RawPeer, eventually, replying, responder, run_gateway

HERE, ELSEWHERE = AllowFrom(["127.0.0.0/8"]), AllowFrom(["10.0.0.0/8"])


class Asking:
    """A policy that notes what it is asked, and waits where it is given something to wait for."""

    fields = frozenset((b"x-key",))
    errors = (Forbidden,)

    def __init__(self, answer: AsyncCheck | None = None) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def check(self, request: Request) -> AsyncCheck | None:
        self.asked.append(request)
        return self._answer


class Broken(Asking):
    def check(self, request: Request) -> AsyncCheck | None:
        super().check(request)
        raise RuntimeError("a bug")


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def make_routes(*policies: Policy) -> list[Route]:
    return [
        Route(name="read", methods=("GET",), path="/read/{id}", subject="p.{id}", policies=policies),
        Route(name="write", methods=("POST",), path="/write", subject="p.write", policies=policies),
        Route(name="free", methods=("GET",), path="/free", subject="p.free"),
    ]


async def test_a_caller_from_a_listed_network_gets_the_answer_and_any_other_403(shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "p.*", replying(b"hi")):
        async with run_gateway(shared_nats.url, routes=make_routes(HERE)) as gateway:
            assert (await gateway.get("/read/1")).status_code == 200
            assert (await gateway.client.post("/write", content=b"x")).status_code == 200
        async with run_gateway(shared_nats.url, routes=make_routes(ELSEWHERE)) as gateway:
            for response in (await gateway.get("/read/1"), await gateway.client.post("/write", content=b"x")):
                assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")
                assert response.json()["delivered"] == "no"
            assert (await gateway.get("/free")).status_code == 200


async def test_who_is_refused_learns_nothing_of_the_rules_of_parameters_and_sends_no_body(
    shared_nats: NatsServer,
) -> None:
    head = b"POST /write HTTP/1.1\r\nHost: t\r\nContent-Length: 900000\r\n\r\n"
    async with (
        RawPeer.connect(shared_nats.url, "p.*") as peer,
        run_gateway(shared_nats.url, routes=make_routes(ELSEWHERE)) as gateway,
    ):
        assert (await gateway.get("/read/a.b")).status_code == 403
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()
        with pytest.raises(TimeoutError):
            await peer.next(timeout=0.1)


async def test_a_body_of_unknown_length_gets_411_where_its_length_is_required(shared_nats: NatsServer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async with (
        responder(shared_nats.url, "p.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=make_routes(RequireLength())) as gateway,
    ):
        assert (await gateway.client.post("/write", content=b"x")).status_code == 200
        assert (await gateway.get("/read/1")).status_code == 200
        response = await gateway.client.post("/write", content=pieces())
        assert (response.status_code, response.json()["type"]) == (411, "/problems/length-required")


async def test_policies_are_asked_in_their_order(shared_nats: NatsServer) -> None:
    chunked = b"POST /write HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for policies, status in (((ELSEWHERE, RequireLength()), b"403"), ((RequireLength(), ELSEWHERE), b"411")):
        async with run_gateway(shared_nats.url, routes=make_routes(*policies)) as gateway:
            assert (await gateway.send_raw(chunked))[9:12] == status


@pytest.mark.parametrize("error", [None, Forbidden()])
async def test_a_policy_that_has_to_wait_is_asked_once_and_waited_for(
    shared_nats: NatsServer, error: GatewayError | None
) -> None:
    gate = asyncio.Event()

    async def answer() -> None:
        await gate.wait()
        if error is not None:
            raise error

    asking, counting = Asking(answer), Asking()
    async with (
        responder(shared_nats.url, "p.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=make_routes(counting, asking, HERE)) as gateway,
    ):
        asked = asyncio.create_task(gateway.get("/read/1", x_key="k", x_other="o"))
        await eventually(lambda: bool(asking.asked))
        assert (await gateway.get("/free")).status_code == 200  # nobody else waits
        assert not asked.done()
        gate.set()
        response = await asked
        assert response.status_code == (403 if error else 200)
        (request,) = asking.asked
        assert (request.caller.address, request.caller.lane, request.version) == (
            "127.0.0.1",
            "asgi",
            "1.1",
        )  # that waits
        assert (b"x-key", b"k") in request.headers
        assert len(counting.asked) == 1


async def test_a_policy_that_waits_longer_than_the_deadline_is_a_timeout_of_what_was_not_sent(
    shared_nats: NatsServer,
) -> None:
    asking = Asking(wait_for_ever)
    async with run_gateway(shared_nats.url, routes=make_routes(asking), timeout=0.1) as gateway:
        problem = (await gateway.get("/read/1")).json()
        assert (problem["status"], problem["delivered"], problem["retryable"]) == (504, "no", True)


@pytest.mark.parametrize("pieces", [[b"0123456789"], [b"01234", b"56789"]], ids=["at once", "in two pieces"])
@pytest.mark.parametrize("expects", [False, True])
async def test_a_body_waits_for_the_policy_and_is_whole_afterwards(
    shared_nats: NatsServer, pieces: list[bytes], expects: bool
) -> None:
    gate = asyncio.Event()

    async def answer() -> None:
        await gate.wait()

    fields = b"Expect: 100-continue\r\n" if expects else b""
    head = b"POST /write HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n%b\r\n" % fields
    async with (
        RawPeer.connect(shared_nats.url, "p.*") as peer,
        run_gateway(shared_nats.url, routes=make_routes(Asking(answer)), timeout=20.0) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + pieces[0])
        await asyncio.sleep(0.4)  # longer than any look at whether the caller has gone
        gate.set()
        await asyncio.sleep(0.1)
        writer.write(b"".join(pieces[1:]))
        message = await peer.next()
        assert message.payload == b"0123456789"
        peer.write(b"PUB %b 2\r\nhi\r\n" % message.reply)
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 100 " if expects else b"HTTP/1.1 200 ")
        writer.close()


async def test_a_request_that_was_refused_while_its_policy_waited_is_never_sent(shared_nats: NatsServer) -> None:
    gate = asyncio.Event()

    async def answer() -> None:
        await gate.wait()

    broken = b"GET /read/1 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    asking = Asking(answer)
    async with (
        RawPeer.connect(shared_nats.url, "p.*") as peer,
        run_gateway(shared_nats.url, routes=make_routes(asking), timeout=20.0) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(broken[:-4])
        await eventually(lambda: bool(asking.asked))
        writer.write(broken[-4:])
        assert b'"delivered":"no"' in await reader.read()
        gate.set()
        with pytest.raises(TimeoutError):
            await peer.next(timeout=0.5)
        writer.close()


async def test_a_caller_who_leaves_ends_the_waiting_of_a_policy(shared_nats: NatsServer) -> None:
    ended = asyncio.Event()

    async def answer() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    asking = Asking(answer)
    async with run_gateway(shared_nats.url, routes=make_routes(asking), timeout=30.0) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /read/1 HTTP/1.1\r\nHost: t\r\n\r\n")
        await eventually(lambda: bool(asking.asked))
        writer.close()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_a_bug_in_a_policy_is_500_and_the_connection_lives_on(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=make_routes(Broken())) as gateway:
        request = b"GET /read/1 HTTP/1.1\r\nHost: t\r\n\r\n"
        answer = await gateway.send_raw(request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.count(b"HTTP/1.1 500 ") == 2
