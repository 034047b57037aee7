"""Bodies that are checked by another process: what the caller, the service and everybody else see of it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from nats.aio.msg import Msg

from app.checks.checker import MAX_PROCESSES, MAX_WAITING
from app.observe.record import Observers, Record
from app.routing.bodies import AT_ONCE, CHECKED_MAX_BODY
from app.routing.routes import ReplyRules, Route
from tests.harness import Gateway, NatsServer, RawPeer, eventually, responder, run_gateway
from tests.process.programs import find_children

JSON_TYPE = {"content-type": "application/json"}
NOTE = Route(name="note", methods=("POST",), path="/note", subject="checks.note", body_schema={"type": "array"})
WIDE = Route(
    name="wide",
    methods=("POST",),
    path="/wide",
    subject="checks.wide",
    body_schema={"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    max_body=4 * CHECKED_MAX_BODY,
)
CHECKED = Route(
    name="checked",
    methods=("GET",),
    path="/checked",
    subject="checks.reply",
    reply=ReplyRules(schema={"type": "array"}, validate=True),
)
PLAIN = Route(name="plain", methods=("GET", "POST"), path="/plain", subject="checks.plain", payload="body")
ROUTES = (NOTE, WIDE, CHECKED, PLAIN)
LONG = b"[%b]" % b" ".ljust(AT_ONCE)


@asynccontextmanager
async def run_slow_checks(
    nats: str, timeout: float = 2.0, observers: Observers | None = None
) -> AsyncIterator[tuple[Gateway, list[int]]]:
    """A gateway whose processes for checks are frozen, and these."""
    async with run_gateway(nats, routes=ROUTES, timeout=timeout, observers=observers) as gateway:
        before = find_children(os.getpid(), "app.checks.process")
        while len(processes := set(find_children(os.getpid(), "app.checks.process")) - set(before)) < MAX_PROCESSES:
            await asyncio.gather(*(post(gateway, LONG) for _ in range(MAX_PROCESSES)))
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        yield gateway, list(processes)


async def post(gateway: Gateway, body: bytes, timeout: str = "20s", path: str = "/note") -> httpx.Response:
    headers = {**JSON_TYPE, "x-request-timeout": timeout}
    return await gateway.client.post(path, content=body, headers=headers)


def wake(processes: list[int]) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGCONT)


async def echo(msg: Msg) -> None:
    await msg.respond(str(len(msg.data)).encode())


async def test_others_are_answered_while_a_body_is_checked(shared_nats: NatsServer) -> None:
    async with (
        responder(shared_nats.url, "checks.*", echo),
        run_slow_checks(shared_nats.url) as (gateway, processes),
    ):
        checks = [asyncio.create_task(post(gateway, LONG)) for _ in range(MAX_PROCESSES + 2)]
        for _ in range(20):
            assert (await gateway.get("/plain")).status_code == 200
            assert (await post(gateway, b"[]")).status_code == 200
            assert (await gateway.get("/livez")).status_code == 200
        assert not any(check.done() for check in checks)
        wake(processes)
        assert {(await check).text for check in checks} == {str(len(LONG))}


async def test_a_body_that_is_not_checked_in_time_is_not_sent(shared_nats: NatsServer) -> None:
    async with (
        run_slow_checks(shared_nats.url) as (gateway, _),
        RawPeer.connect(shared_nats.url, "checks.>") as spy,
    ):
        response = await post(gateway, LONG, "100ms")
        problem = response.json()
        assert (response.status_code, problem["type"], problem["delivered"]) == (504, "/problems/timeout", "no")
        await gateway.get("/plain", x_request_timeout="100ms")
        assert (await spy.next()).subject == "checks.plain"


async def test_nothing_is_sent_for_a_caller_who_left_while_its_body_was_checked(shared_nats: NatsServer) -> None:
    head = b"POST /note HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(LONG)
    async with (
        run_slow_checks(shared_nats.url, timeout=20.0) as (gateway, processes),
        RawPeer.connect(shared_nats.url, "checks.>") as spy,
    ):
        count = len(gateway.server.server_state.connections)
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head + LONG)
        await writer.drain()
        await asyncio.sleep(0.1)
        await eventually(lambda: len(gateway.server.server_state.connections) == count + 1)
        writer.close()
        await eventually(lambda: len(gateway.server.server_state.connections) == count)
        await eventually(lambda: gateway.server.server_state.tasks == set())
        wake(processes)
        assert (await post(gateway, LONG[:-1])).status_code == 422
        await gateway.get("/plain", x_request_timeout="100ms")
        assert (await spy.next()).subject == "checks.plain"


async def test_more_bodies_than_can_wait_are_refused(shared_nats: NatsServer) -> None:
    async with (
        responder(shared_nats.url, "checks.*", echo),
        run_slow_checks(shared_nats.url) as (gateway, processes),
    ):
        checks = [asyncio.create_task(post(gateway, LONG)) for _ in range(MAX_PROCESSES + MAX_WAITING + 3)]
        await eventually(lambda: sum(check.done() for check in checks) == 3)
        wake(processes)
        answers = [await check for check in checks]
        refused = [answer.json() for answer in answers if answer.status_code != 200]
        assert [(one["type"], one["delivered"]) for one in refused] == [("/problems/overloaded", "no")] * 3


async def test_a_route_with_a_schema_takes_less_unless_it_says_more(shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "checks.*", echo), run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        body = b"[]".ljust(CHECKED_MAX_BODY)
        assert (await post(gateway, body)).status_code == 200
        assert (await post(gateway, body + b" ")).status_code == 413
        assert (await post(gateway, body + b" ", path="/wide")).status_code == 200
        assert (await post(gateway, body + b" ", path="/plain")).status_code == 200
    async with run_gateway(shared_nats.url, routes=ROUTES, max_body=1000) as gateway:
        assert (await post(gateway, b"[]".ljust(1001))).status_code == 413


@pytest.mark.parametrize("count", [1, 10, 1000, 100_000])
async def test_a_body_has_a_bounded_answer_however_many_faults_it_has(shared_nats: NatsServer, count: int) -> None:
    body = json.dumps([1] * count).encode()
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        response = await post(gateway, body, path="/wide")
        errors = response.json()["errors"]
        assert response.status_code == 422
        assert 1 <= len(errors) <= min(count, 20)
        assert errors[0]["pointer"] == "#/0"
        assert "anyOf" in errors[0]["detail"]
        assert (await gateway.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[%b]" % (b"9" * 4301), "it has an integer of more than 4,300 digits"),
        (b"[%b]" % (b"9" * 20_000), "it has an integer of more than 4,300 digits"),
        (b"[" * 65 + b"]" * 65, "it is nested too deeply"),
        (b"[" * 20_000 + b"]" * 20_000, "it is nested too deeply"),
    ],
    ids=["digits", "many digits", "deep", "very deep"],
)
async def test_what_is_beyond_a_bound_is_told_in_our_words(shared_nats: NatsServer, body: bytes, reason: str) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        response = await post(gateway, body)
    problem = response.json()
    assert (response.status_code, problem["detail"]) == (422, "The body can't be read as JSON.")
    assert [error["detail"] for error in problem["errors"]] == [reason]


# Replies


async def test_a_reply_that_can_not_be_checked_in_time_is_a_bad_one(shared_nats: NatsServer) -> None:
    async with run_slow_checks(shared_nats.url) as (gateway, _), RawPeer.connect(shared_nats.url, ">") as peer:
        asking = asyncio.create_task(gateway.get("/checked"))
        message = await peer.next()
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", LONG)
        response = await asking
    problem = response.json()
    assert (response.status_code, problem["type"], problem["delivered"]) == (502, "/problems/bad-reply", "yes")
    assert problem["detail"] == "The service's reply could not be checked in time."


async def test_a_caller_who_leaves_while_a_reply_is_checked_is_forgotten(shared_nats: NatsServer) -> None:
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    async with (
        run_slow_checks(shared_nats.url, timeout=20.0, observers=observers) as (gateway, processes),
        RawPeer.connect(shared_nats.url, ">") as peer,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /checked HTTP/1.1\r\nHost: t\r\n\r\n")
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", LONG)
        plain = asyncio.create_task(gateway.get("/plain"))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n")
        assert (await plain).status_code == 200  # so that the reply before it has arrived
        writer.transport.abort()
        await eventually(lambda: [r.status for r in records if r.route == "checked"] == [499])
        wake(processes)
        asking = asyncio.create_task(gateway.get("/checked"))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", LONG)
        assert (await asking).content == LONG
    assert [r.status for r in records if r.route == "checked"] == [499, 200]
