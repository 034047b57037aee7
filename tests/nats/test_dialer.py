"""Which of all known servers is connected to: those that are gone hold up none that lives."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.nats.addresses import Address
from app.nats.connection import Connection, Events
from app.nats.credentials import ANONYMOUS
from app.nats.dialer import CONNECT_TIMEOUT, FIRST_PAUSE, Dialer
from tests.harness import NatsServer, eventually

QUIET = Events(
    replied=lambda *_: None,
    refused=lambda *_: None,
    denied=lambda *_: None,
    lame=lambda *_: None,
    lost=lambda *_: None,
)
REFUSED = "nats://127.0.0.1:1"


def make_connector(*servers: str) -> Dialer:
    dialer = Dialer(servers, credentials=ANONYMOUS, events=QUIET)
    dialer._pause = 0.0
    return dialer


@asynccontextmanager
async def run_silent_servers(count: int) -> AsyncIterator[list[str]]:
    """Addresses that accept connections and say nothing, as those of a machine that hangs."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [f"nats://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


async def connect_in(dialer: Dialer, seconds: float) -> Connection:
    async with asyncio.timeout(seconds):
        return await dialer.connect()


async def test_servers_that_refuse_do_not_hold_up_one_that_lives(shared_nats: NatsServer) -> None:
    for _ in range(10):
        connection = await connect_in(make_connector(*[REFUSED] * 20, shared_nats.url), CONNECT_TIMEOUT)
        connection.close()


async def test_servers_that_hang_do_not_hold_up_one_that_lives_for_the_time_to_connect(shared_nats: NatsServer) -> None:
    async with run_silent_servers(3) as silent:
        for _ in range(5):
            connection = await connect_in(make_connector(*silent, shared_nats.url), CONNECT_TIMEOUT)
            assert connection.server.url == shared_nats.url
            connection.close()


async def test_all_addresses_of_a_name_are_tried(shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(shared_nats.url.rpartition(":")[2])

    resolve = socket.getaddrinfo

    def resolve_example(host: str, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
        hosts = ("192.0.2.1", "192.0.2.1", "127.0.0.1", "192.0.2.2")  # RFC 5737: of no machine
        if host == "nats.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_example)
    for _ in range(3):
        connection = await connect_in(make_connector(f"nats://nats.example:{port}"), CONNECT_TIMEOUT)
        assert connection.server.address == f"127.0.0.1:{port}"
        assert connection.server.tls_name == "nats.example"
        connection.close()


async def test_a_name_whose_lookup_hangs_holds_up_no_other_and_has_one_lookup_at_a_time(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    lookups: list[str] = []
    resolve = socket.getaddrinfo

    def hang(host: str, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
        if host.endswith(".example"):
            lookups.append(host)
            go_on.wait(20)
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr("app.nats.dialer.CONNECT_TIMEOUT", 0.3)
    names = [f"nats://{number}.example" for number in range(10)]
    named = shared_nats.url.replace("127.0.0.1", "localhost")
    try:
        dialer = make_connector(*names, named)
        for _ in range(3):
            (await connect_in(dialer, 10)).close()
        dialer._known = dialer._configured[:1]
        with pytest.raises(TimeoutError):
            await connect_in(dialer, 1.5)
        assert dialer.reason == "0.example:4222: the host can't be found"
        assert len(lookups) == len(set(lookups))
        assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        go_on.set()


async def test_only_one_of_the_connections_that_come_is_kept(shared_nats: NatsServer) -> None:
    made: list[Connection] = []
    remember = Connection.__init__

    def init(self: Connection, *arguments: object) -> None:
        made.append(self)
        remember(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "__init__", init)
        patch.setattr("app.nats.dialer.STAGGER", 0.0)
        connection = await connect_in(make_connector(*[f"{shared_nats.url}/{'/' * n}" for n in range(20)]), 5)
        await eventually(lambda: [each for each in made if not each.ended] == [connection])
        assert len(made) > 1
    connection.close()


async def test_a_cancelled_attempt_leaves_nothing_open() -> None:
    async with run_silent_servers(1) as silent:
        connecting = asyncio.create_task(make_connector(*silent).connect())
        await asyncio.sleep(0.1)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)


async def test_a_reason_is_logged_once_and_again_after_there_was_a_connection(own_nats: NatsServer) -> None:
    url = own_nats.url
    own_nats.stop()
    dialer = make_connector(url, REFUSED, "nats://no.such.host.invalid", "nats://" + "x" * 70)
    with capture_logs() as logs:
        connecting = asyncio.create_task(dialer.connect())
        await eventually(lambda: len(logs) == 4)
        await asyncio.sleep(0.5)  # many a round
        refused = {f"{url.removeprefix('nats://')}: connection refused", "127.0.0.1:1: connection refused"}
        unknown = {f"{name}:4222: the host can't be found" for name in ("no.such.host.invalid", "x" * 70)}
        assert sorted(entry["reason"] for entry in logs) == sorted(refused | unknown)
        assert dialer.reason in refused | unknown
        own_nats.start()
        (await connecting).close()
        own_nats.stop()
        logs.clear()
        connecting = asyncio.create_task(dialer.connect())
        await eventually(lambda: len(logs) == 4)
        connecting.cancel()


async def test_what_the_last_connection_told_is_tried_beside_what_is_configured(shared_nats: NatsServer) -> None:
    dialer = make_connector(REFUSED)
    dialer.learn([Address.parse("nats://127.0.0.1:2")])
    dialer.learn([Address.parse(shared_nats.url)])
    assert dialer._known == (Address.parse(REFUSED), Address.parse(shared_nats.url))
    connection = await connect_in(dialer, CONNECT_TIMEOUT)
    assert connection.server.url == shared_nats.url
    connection.close()


async def test_the_first_attempt_of_all_waits_for_nothing_and_each_later_one_does(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    most: list[float] = []

    def choose(_: float, pause: float) -> float:
        most.append(pause)
        return 0.0

    monkeypatch.setattr("app.nats.dialer.random.uniform", choose)
    dialer = Dialer([shared_nats.url], credentials=ANONYMOUS, events=QUIET)
    for _ in range(3):
        (await connect_in(dialer, CONNECT_TIMEOUT)).close()
    dialer.end_backoff()
    (await connect_in(dialer, CONNECT_TIMEOUT)).close()
    assert most == [0.0, FIRST_PAUSE, 2 * FIRST_PAUSE, FIRST_PAUSE]


async def test_pauses_grow_and_begin_anew_after_a_connection_that_has_lasted() -> None:
    dialer = Dialer([REFUSED], credentials=ANONYMOUS, events=QUIET)
    with pytest.raises(TimeoutError):
        await connect_in(dialer, 1.5)
    grown = dialer._pause
    dialer.end_backoff()
    assert grown > 2 * dialer._pause > 0
