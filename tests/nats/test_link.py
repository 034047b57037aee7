"""Each law of the link, with a real server that dies, freezes, refuses or moves."""

import asyncio
import time
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from app.errors import ConnectionLost, Draining, NoResponders, NotConnected, Overloaded, PayloadTooLarge, Timeout
from app.formats.messages import Reply
from app.nats.connection import Connection
from app.nats.in_flight import InFlightFuture, Outcome
from app.nats.link import HEARTBEAT_INTERVAL, STABLE, Link
from tests.harness import (
    NatsServer,
    RawPeer,
    eventually,
    replying,
    responder,
    run_nats,
    run_nats_cluster,
    run_slow_proxy,
)


def ask(link: Link, subject: str, payload: bytes, deadline: float) -> InFlightFuture:
    """A request of which the test holds the future."""
    sent = InFlightFuture()
    link.send(sent, subject, b"", payload, deadline)
    return sent


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def connection_of(link: Link) -> Connection:
    connection = link._connection
    assert connection is not None
    return connection


async def ready(link: Link) -> None:
    await eventually(lambda: link.reason is None)


async def stay_silent(msg: Msg) -> None:
    pass


async def test_1_every_request_ends_once_by_its_deadline_though_the_server_is_frozen(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=1000) as link, responder(own_nats.url, "s", stay_silent):
        await ready(link)
        own_nats.freeze()
        started = time.monotonic()

        async def request(timeout: float) -> tuple[Outcome, float]:
            outcome = await link.request("s", b"", b"x", started + timeout)
            return outcome, time.monotonic() - started - timeout

        outcomes = await asyncio.gather(*(request(0.5 + number / 1000) for number in range(200)))
        assert {type(outcome) for outcome, _ in outcomes} == {Timeout}
        assert max(late for _, late in outcomes) < 1
        assert min(late for _, late in outcomes) > -0.01
        assert link.in_flight == 0


async def test_1_a_request_that_waits_for_a_server_that_reads_nothing_was_seen_by_nobody(own_nats: NatsServer) -> None:
    """More than the kernel and the transport take: what is held until the deadline is never sent."""
    async with Link([own_nats.url], max_in_flight=1000) as link, RawPeer.connect(own_nats.url, "s"):
        await ready(link)
        own_nats.freeze()
        sent = [ask(link, "s", b"x" * 1_000_000, soon(30)) for _ in range(30)]
        last = ask(link, "s", b"", soon(0.05))
        outcome = await last.future
        assert isinstance(outcome, Overloaded)
        left = sent.pop()
        left.abandon()
        assert not connection_of(link).outgoing.withdraw(left.token)
        refused = await asyncio.wait_for(sent[-1].future, 5)
        assert isinstance(refused, Overloaded)
        assert not sent[0].future.done()
        assert isinstance(await link.request("s", b"", b"", soon()), Overloaded)


class Counted(InFlightFuture):
    """Counts how often it is told that its bytes have left."""

    wants_written = True
    count = 0

    def written(self) -> None:
        self.count += 1


async def test_1_who_asks_is_told_once_when_the_payload_has_left_however_the_request_ends(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=1000) as link, RawPeer.connect(own_nats.url, "s") as peer:
        await ready(link)

        def send(payload: bytes, timeout: float = 30) -> Counted:
            sent = Counted()
            link.send(sent, "s", b"", payload, soon(timeout))
            return sent

        large = send(b"x" * 1_000_000)
        assert large.count == 0
        assert len((await peer.next()).payload) == 1_000_000
        await eventually(lambda: large.count == 1)
        too_large = send(b"x" * 2_000_000)
        assert too_large.count == 1
        unwritten = send(b"x")
        connection_of(link).end("cut in this very moment")
        assert (unwritten.count, large.count) == (1, 1)
        refused = send(b"x")
        assert refused.count == 1
        await ready(link)
        own_nats.freeze()
        many = [send(b"x" * 1_000_000, timeout=0.1) for _ in range(20)]
        assert isinstance(await many[-1].future, Overloaded)
        assert 0 < sum(sent.count for sent in many) < 20  # those at the transport are still kept
        own_nats.thaw()
        await eventually(lambda: [sent.count for sent in many] == [1] * 20)
        assert large.count == 1


async def test_2_nothing_is_sent_without_a_connection_nor_after_a_reconnect(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link:
        await ready(link)
        own_nats.stop()
        await eventually(lambda: link.reason)
        for _ in range(5):
            sent = ask(link, "s", b"buffered?", soon())
            assert sent.future.done()  # at once
            assert isinstance(sent.future.result(), NotConnected)
        own_nats.start()
        async with RawPeer.connect(own_nats.url, ">") as everything:
            await ready(link)
            with pytest.raises(TimeoutError):
                await everything.next(0.5)


async def test_3_a_lost_connection_fails_what_is_in_flight_at_once_and_tells_the_unwritten_apart(
    own_nats: NatsServer,
) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, RawPeer.connect(own_nats.url, "s") as peer:
        await ready(link)
        written = ask(link, "s", b"1", soon(30))
        await peer.next()
        unwritten = ask(link, "s", b"2", soon(30))
        connection_of(link).end("cut in this very moment")
        assert isinstance(await written.future, ConnectionLost)
        assert isinstance(await unwritten.future, NotConnected)
        with pytest.raises(TimeoutError):
            await peer.next(0.2)


async def test_3_a_killed_server_fails_all_requests_within_a_second(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=1000) as link, responder(own_nats.url, "s", stay_silent):
        await ready(link)
        sent = [ask(link, "s", b"", soon(30)) for _ in range(500)]
        await asyncio.sleep(0.1)
        own_nats.kill()
        outcomes = await asyncio.wait_for(asyncio.gather(*(one.future for one in sent)), 1)
        assert {type(outcome) for outcome in outcomes} == {ConnectionLost}
        assert link.in_flight == 0


async def test_4_the_largest_request_is_taken_and_the_connection_stays(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, responder(own_nats.url, ">", replying(b"ok")):
        await ready(link)
        connection = connection_of(link)
        block = b"NATS/1.0\r\nA: %b\r\n\r\n" % (b"x" * 16_000)
        payload = b"x" * (connection.max_payload - len(block))
        subject = ".".join(["é" * 128] * 7)
        assert isinstance(await link.request(subject, block, payload, soon()), Reply)
        assert not isinstance(await link.request(subject, block, payload + b"x", soon()), Reply)
        assert link._connection is connection


async def test_4_a_raised_max_payload_is_learned_and_costs_no_request(own_nats: NatsServer) -> None:
    own_nats.reload("max_payload: 1000")
    async with Link([own_nats.url], max_in_flight=10) as link, RawPeer.connect(own_nats.url, "s") as peer:
        await ready(link)
        own_nats.reload("max_payload: 2000")
        await asyncio.sleep(STABLE + 0.1)  # it does not look more often, however many bodies are too large
        old = connection_of(link)
        waiting = ask(link, "s", b"", soon(30))
        message = await peer.next()
        assert isinstance(await link.request("s", b"", b"x" * 2000, soon()), PayloadTooLarge)
        await eventually(lambda: link._connection is not old)
        taken = ask(link, "s", b"x" * 2000, soon())
        assert (await peer.next()).payload == b"x" * 2000
        taken.abandon()
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"on the old connection")
        assert await waiting.future == Reply(b"NATS/1.0\r\n\r\n", b"on the old connection")
        fresh = connection_of(link)
        assert isinstance(await link.request("s", b"", b"x" * 2001, soon()), PayloadTooLarge)
        await asyncio.sleep(0.5)
        assert link._connection is fresh


async def test_5_a_server_that_comes_back_is_found_again(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link:
        await ready(link)
        for _ in range(3):
            own_nats.kill()
            await eventually(lambda: link.reason)
            own_nats.start()
            await ready(link)
            assert isinstance(await link.request("s", b"", b"", soon()), NoResponders)


async def test_5_a_connection_that_ends_between_two_heartbeats_does_not_end_the_watch(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nats.link.HEARTBEAT_INTERVAL", 0.2)
    with capture_logs() as logs:
        async with Link([own_nats.url], max_in_flight=10) as link:
            for _ in range(3):
                await ready(link)
                connection = connection_of(link)
                await asyncio.sleep(0.1)
                connection._client._transport._io_writer.transport.abort()  # type: ignore[union-attr]
                await asyncio.sleep(0.4)
    assert "link-broken" not in [entry["event"] for entry in logs]


async def test_5_a_frozen_server_is_left_for_another(own_nats: NatsServer, tmp_path: Path) -> None:
    with run_nats(tmp_path / "other") as other:
        async with Link([own_nats.url, other.url], max_in_flight=10) as link:
            await ready(link)
            stuck = connection_of(link)
            started = time.monotonic()
            (own_nats if own_nats.url.endswith(stuck.server.address) else other).freeze()
            await eventually(lambda: link.reason is None and link._connection is not stuck)
            assert time.monotonic() - started < 2 * HEARTBEAT_INTERVAL + 3  # and one attempt at the frozen one
            assert isinstance(await link.request("s", b"", b"", soon()), NoResponders)


async def test_5_a_client_that_the_server_closed_for_a_protocol_error_is_replaced(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link:
        await ready(link)
        connection = connection_of(link)
        connection.publish(b"s " * 3000, b"t", b"", b"")  # what no relay lets through
        await eventually(lambda: connection.ended)
        await ready(link)
        assert isinstance(await link.request("s", b"", b"", soon()), NoResponders)


async def test_5_a_wildcard_subscriber_is_no_reason_to_reconnect(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, RawPeer.connect(own_nats.url, ">"):
        await ready(link)
        connection = connection_of(link)
        await asyncio.sleep(HEARTBEAT_INTERVAL * 2.5)
        assert link._connection is connection


async def test_6_lame_duck_moves_to_another_server_and_no_request_fails(tmp_path: Path) -> None:
    with run_nats_cluster(tmp_path, 2, 'lame_duck_duration: "30s", lame_duck_grace_period: "10s"') as (first, second):
        async with Link([first.url], max_in_flight=1000) as link:

            async def slowly(msg: Msg) -> None:
                await asyncio.sleep(0.02)
                await msg.respond(b"ok")

            async with responder(second.url, "s", slowly):
                await ready(link)
                await eventually(lambda: connection_of(link).servers)
                stop = asyncio.Event()
                outcomes: list[Outcome] = []

                async def load() -> None:
                    while not stop.is_set():
                        outcomes.append(await link.request("s", b"", b"", soon(8)))

                loads = [asyncio.create_task(load()) for _ in range(5)]
                await eventually(lambda: any(isinstance(outcome, Reply) for outcome in outcomes))
                outcomes.clear()
                old = connection_of(link)
                first.lame_duck()
                await eventually(lambda: link._connection is not old and link.reason is None)
                await eventually(lambda: old.ended)
                count = len(outcomes)
                await eventually(lambda: len(outcomes) > count + 20)
                stop.set()
                await asyncio.gather(*loads)
                assert {type(outcome) for outcome in outcomes} == {Reply}
                assert link.server == second.url.removeprefix("nats://")


async def test_6_a_server_that_says_so_before_it_is_taken_is_left_too(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link:
        connect = link._dialer.connect
        made: list[Connection] = []

        async def connect_to_lame() -> Connection:
            connection = await connect()
            if not made:
                await connection._take_lame_duck()
            made.append(connection)
            return connection

        link._dialer.connect = connect_to_lame  # type: ignore[method-assign]
        await ready(link)
        await eventually(lambda: len(made) > 1 and link._connection is made[1])


async def test_5_the_node_that_it_moved_to_is_not_forgotten(tmp_path: Path) -> None:
    """It was told of by one that is gone by then, and does not tell of itself."""
    with run_nats_cluster(tmp_path, 2) as (first, second):
        async with Link([first.url], max_in_flight=10) as link:
            await ready(link)
            await eventually(lambda: connection_of(link).servers)
            first.kill()
            for _ in range(2):
                await eventually(lambda: link.server == second.url.removeprefix("nats://"))
                connection_of(link).end("cut in this very moment")
                assert link.reason
            await ready(link)


async def test_7_a_denied_publish_fails_its_own_request_and_no_other(own_nats: NatsServer) -> None:
    own_nats.reload("authorization {users: [{user: u, password: p, permissions: {publish: {deny: 'd.>'}}}]}")
    url = own_nats.url.replace("//", "//u:p@")
    async with Link([url], max_in_flight=100) as link, RawPeer.connect(url, "s") as peer:
        await ready(link)
        allowed = ask(link, "s", b"", soon(30))
        message = await peer.next()
        subjects = ['d.q"uo\\te', "d.é", "d.名前", "d.😀", "d.Sue", "d.sue", "d.o'neil"]
        denied = [ask(link, subject, b"", soon()) for subject in subjects for _ in range(2)]
        outcomes = await asyncio.wait_for(asyncio.gather(*(one.future for one in denied)), 2)
        assert {outcome.slug for outcome in outcomes if not isinstance(outcome, Reply)} == {"permission-denied"}
        assert not allowed.future.done()
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"taken")
        assert await allowed.future == Reply(b"NATS/1.0\r\n\r\n", b"taken")


async def test_8_only_the_server_s_status_line_means_no_responders(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, RawPeer.connect(own_nats.url, "s") as peer:
        await ready(link)
        assert isinstance(await link.request("nobody", b"", b"", soon()), NoResponders)
        for block, payload in ((b"NATS/1.0\r\nStatus: 503\r\n\r\n", b""), (b"NATS/1.0 503\r\n\r\n", b"payload")):
            sent = ask(link, "s", b"", soon())
            peer.publish((await peer.next()).reply, block, payload)
            assert await sent.future == Reply(block, payload)


async def test_9_no_entry_outlives_its_request(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=1000) as link, RawPeer.connect(own_nats.url, "s"):
        await ready(link)
        tasks = [asyncio.create_task(link.request("s", b"", b"", soon(30))) for _ in range(100)]
        await asyncio.sleep(0.05)
        assert link.in_flight == 100
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        ask(link, "s", b"", soon(30)).abandon()
        await link.request("nobody", b"", b"", soon())
        await link.request("s", b"", b"", soon(0.02))
        assert link.in_flight == 0


async def test_10_after_close_nothing_is_taken_and_nothing_waits(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, responder(own_nats.url, "s", stay_silent):
        await ready(link)
        waiting = ask(link, "s", b"", soon(30))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(link.close(), 1)
        assert isinstance(await waiting.future, ConnectionLost)
        assert isinstance(await link.request("s", b"", b"", soon()), Draining)
        assert link.reason == "shutting down"
    assert not [task for task in asyncio.all_tasks() if "Link" in repr(task.get_coro())]


async def test_10_close_is_quick_while_the_server_is_frozen_or_away(own_nats: NatsServer) -> None:
    for hurt in (own_nats.freeze, own_nats.kill):
        async with Link([own_nats.url], max_in_flight=100) as link:
            if hurt == own_nats.freeze:
                await ready(link)
                hurt()
                for _ in range(7):
                    ask(link, "s", b"x" * 1_000_000, soon(30))
            else:
                own_nats.thaw()
                hurt()
            await asyncio.sleep(0.1)
            started = time.monotonic()
        assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("authorization {user: u, password: p}", "authorization violation"),
        ("authorization {token: t}", "authorization violation"),
    ],
)
async def test_a_server_that_refuses_us_is_named_with_its_reason_and_without_secrets(
    tmp_path: Path, config: str, reason: str
) -> None:
    with run_nats(tmp_path / "refusing", config) as server:
        url = server.url.replace("//", "//user:s3cret@")
        async with Link([url], max_in_flight=10) as link:
            await eventually(lambda: reason in str(link.reason))
            assert "s3cret" not in str(link.reason)
            server.reload("")
            await ready(link)


async def test_5_a_connection_that_ends_at_once_is_not_replaced_in_a_tight_loop(own_nats: NatsServer) -> None:
    """A user that may not subscribe to its inbox: every connection opens well and ends in the next moment."""
    own_nats.reload("authorization {users: [{user: u, password: p, permissions: {subscribe: {deny: '_INBOX.>'}}}]}")
    with capture_logs() as logs:
        async with Link([own_nats.url.replace("//", "//u:p@")], max_in_flight=10):
            await asyncio.sleep(2)
    assert 2 <= [entry["event"] for entry in logs].count("disconnected") < 15


async def test_5_a_slow_connection_that_still_takes_bytes_is_left_alone(own_nats: NatsServer) -> None:
    """3 MB through a proxy of 0.5 MB/s: the heartbeat waits behind them for longer than its interval."""
    port = int(own_nats.url.rpartition(":")[2])
    async with (
        run_slow_proxy(port) as slow,
        responder(own_nats.url, "s", stay_silent),
        Link([f"nats://127.0.0.1:{slow}"], max_in_flight=10) as link,
    ):
        await ready(link)
        connection = connection_of(link)
        sent = [ask(link, "s", b"x" * 1_000_000, soon(30)) for _ in range(3)]
        await asyncio.sleep(2 * HEARTBEAT_INTERVAL + 1)
        assert link._connection is connection
        assert not any(one.future.done() for one in sent)


async def test_6_a_retired_connection_is_closed_with_the_link(own_nats: NatsServer) -> None:
    async with Link([own_nats.url], max_in_flight=10) as link, responder(own_nats.url, "s", stay_silent):
        await ready(link)
        old = connection_of(link)
        ask(link, "s", b"", soon(30))
        link._leave(old)  # as on lame duck
        await eventually(lambda: link._connection is not old)
    assert old.ended


async def test_a_server_that_should_speak_tls_and_does_not_is_told_no_secret() -> None:
    heard: list[bytes] = []

    async def speak_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true}\r\n')
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(speak_plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Link([f"tls://user:s3cret@127.0.0.1:{port}"], max_in_flight=1) as link:
        await eventually(lambda: "does not speak tls" in str(link.reason))
        await eventually(lambda: heard)
    assert heard[0] == b""


async def test_credentials_may_hold_any_character(tmp_path: Path) -> None:
    with run_nats(tmp_path / "guarded", 'authorization {user: "u@x", password: "p:/@#%"}') as server:
        url = server.url.replace("//", "//u%40x:p%3A%2F%40%23%25@")
        async with Link([url], max_in_flight=1) as link:
            await ready(link)
    with run_nats(tmp_path / "token", 'authorization {token: "t/k"}') as server:
        async with Link([server.url.replace("//", "//t%2Fk@")], max_in_flight=1) as link:
            await ready(link)
