"""Requests with many replies: the laws of the link are kept for them too. A real server, and responders that lie."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from app.errors import ConnectionLost, NoResponders, NotConnected, Overloaded, PermissionDenied
from app.formats.messages import Reply
from app.nats.gathering import MAX_GATHERED, MAX_GATHERINGS, Gathered
from app.nats.in_flight import InFlightFuture
from app.nats.link import Link
from tests.harness import NatsServer, RawPeer, eventually, replying, responder


@contextlib.asynccontextmanager
async def run_link(url: str, max_in_flight: int = 100, max_per_caller: int | None = None) -> AsyncIterator[Link]:
    """A link that is ready; when it is left, nothing is in flight."""
    async with Link([url], max_in_flight=max_in_flight, max_per_caller=max_per_caller) as link:
        await eventually(lambda: link.reason is None)
        yield link
        assert link.in_flight == 0


async def gather(link: Link, subject: str, within: float = 10.0, stall: float = 0.2, most: int = 1000) -> Gathered:
    return await link.gather(subject, b"", within=within, stall=stall, most=most)


def payloads(gathered: Gathered) -> list[bytes]:
    return [reply.payload for reply in gathered.replies]


async def test_all_replies_come_in_their_order_and_it_ends_once_no_further_one_does(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.all") as peer:
        started = time.monotonic()
        waiting = asyncio.create_task(gather(link, "g.all"))
        message = await peer.next()
        for number in range(50):
            peer.publish(message.reply, b"NATS/1.0\r\nn: %d\r\n\r\n" % number, b"%d" % number)
        gathered = await waiting
    assert payloads(gathered) == [b"%d" % number for number in range(50)]
    assert gathered.replies[7] == Reply(b"NATS/1.0\r\nn: 7\r\n\r\n", b"7")
    assert (gathered.cut, gathered.error) == (False, None)
    assert time.monotonic() - started < 5  # of 10


async def test_several_responders_answer_and_a_reply_after_the_end_goes_to_nobody(shared_nats: NatsServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(run_link(shared_nats.url))
        late = await stack.enter_async_context(RawPeer.connect(shared_nats.url, "g.many"))
        for name in (b"a", b"b", b"c"):
            await stack.enter_async_context(responder(shared_nats.url, "g.many", replying(name)))
        assert sorted(payloads(await gather(link, "g.many"))) == [b"a", b"b", b"c"]
        late.publish((await late.next()).reply, b"NATS/1.0\r\n\r\n", b"late")
        assert isinstance(await link.request("g.nobody", b"", b"", time.monotonic() + 5), NoResponders)


async def test_1_it_ends_at_its_deadline_though_replies_go_on_or_none_comes(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.on", "g.none") as peer:
        started = time.monotonic()
        silent = await gather(link, "g.none", within=0.3, stall=0.01)
        assert 0.29 < time.monotonic() - started < 2
        assert silent == Gathered()
        await peer.next()
        started = time.monotonic()
        waiting = asyncio.create_task(gather(link, "g.on", within=0.5, stall=5, most=10**6))
        message = await peer.next()
        while not waiting.done():
            peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"x")
            await asyncio.sleep(0.01)
        assert 0.49 < time.monotonic() - started < 3
        assert len((await waiting).replies) > 3


async def test_2_and_3_without_a_connection_it_ends_at_once_and_keeps_what_came_before(own_nats: NatsServer) -> None:
    async with run_link(own_nats.url) as link, RawPeer.connect(own_nats.url, "s", "later") as peer:
        waiting = asyncio.create_task(gather(link, "s", within=60, stall=60))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", b"x")
        later = asyncio.create_task(link.request("later", b"", b"", time.monotonic() + 30))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", b"y")
        assert isinstance(await later, Reply)  # so the reply before it has come too
        own_nats.kill()
        gathered = await asyncio.wait_for(waiting, 5)
        assert payloads(gathered) == [b"x"]
        assert isinstance(gathered.error, ConnectionLost)
        gathered = await asyncio.wait_for(gather(link, "s"), 0.1)
        assert isinstance(gathered.error, NotConnected)


async def test_7_a_denial_ends_it_at_once_and_no_other_request(own_nats: NatsServer) -> None:
    own_nats.reload("authorization {users: [{user: u, password: p, permissions: {publish: {deny: 'd.>'}}}]}")
    url = own_nats.url.replace("//", "//u:p@")
    async with run_link(url) as link, responder(url, "s", replying(b"fine")):
        server = link.server
        gathered = await asyncio.wait_for(gather(link, "d.x", within=60), 5)
        assert isinstance(gathered.error, PermissionDenied)
        assert await link.request("s", b"", b"", time.monotonic() + 5) == Reply(b"", b"fine")
        assert link.server == server


async def test_7_a_denial_of_another_request_is_not_taken_for_that_of_one_with_replies(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.d") as peer:
        waiting = asyncio.create_task(gather(link, "g.d", within=60, stall=60, most=2))
        message = await peer.next()
        denied = InFlightFuture()
        link.send(denied, "g.d", b"", b"", time.monotonic() + 30)
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"1")
        await eventually(lambda: next(reversed(link._in_flight)) is not denied)
        assert link._connection is not None
        link._take_denial(link._connection, "g.d")
        assert isinstance(denied.future.result(), PermissionDenied)
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"2")
        assert payloads(await waiting) == [b"1", b"2"]


async def test_8_nobody_is_nothing_and_a_service_that_says_so_hides_no_other(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.liar") as peer:
        assert await asyncio.wait_for(gather(link, "g.nobody"), 5) == Gathered()
        waiting = asyncio.create_task(gather(link, "g.liar"))
        message = await peer.next()
        peer.publish(message.reply, b"NATS/1.0 503\r\n\r\n")
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"true")
        assert payloads(await waiting) == [b"true"]


async def test_9_nothing_is_left_when_it_is_cancelled(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url, max_per_caller=1) as link, RawPeer.connect(shared_nats.url, "g.c") as peer:
        for replies in (0, 3):
            waiting = asyncio.create_task(gather(link, "g.c", within=60, stall=60))
            message = await peer.next()
            for _ in range(replies):
                peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"x")
            await asyncio.sleep(0.05)
            assert link.in_flight == 1
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert link.in_flight == 0
            assert link._gatherings.count == 0
            assert link._in_flight.maximum == 100


async def test_10_it_ends_when_the_link_is_closed(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.close") as peer:
        waiting = asyncio.create_task(gather(link, "g.close", within=60, stall=60))
        peer.publish((await peer.next()).reply, b"NATS/1.0\r\n\r\n", b"x")
        await link.close()
        assert isinstance((await asyncio.wait_for(waiting, 1)).error, ConnectionLost)


async def test_a_flood_ends_at_its_bound_of_messages(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.flood") as peer:
        waiting = asyncio.create_task(gather(link, "g.flood", most=500))
        reply = (await peer.next()).reply
        peer.write(b"PUB %b 1\r\nx\r\n" % reply * 20_000)
        gathered = await waiting
        assert (len(gathered.replies), gathered.cut) == (500, True)
        assert await link.request("g.flood", b"", b"", time.monotonic() + 0.05)  # the rest goes to nobody


async def test_no_more_bytes_are_kept_than_may_be_and_a_small_reply_comes_after_large_ones(
    own_nats: NatsServer,
) -> None:
    async with run_link(own_nats.url) as link, RawPeer.connect(own_nats.url, "s") as peer:
        waiting = asyncio.create_task(gather(link, "s", stall=20, most=19))
        reply = (await peer.next()).reply
        for _ in range(18):
            peer.write(b"PUB %b 1000000\r\n%b\r\n" % (reply, b"x" * 1_000_000))
        peer.write(b"PUB %b 5\r\nsmall\r\n" % reply)
        gathered = await waiting
        assert gathered.cut
        assert [len(payload) for payload in payloads(gathered)] == [1_000_000] * 16 + [5]
        assert sum(len(payload) for payload in payloads(gathered)) <= MAX_GATHERED


async def test_it_takes_no_place_from_callers_and_they_none_from_it(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url, max_in_flight=2) as link, RawPeer.connect(shared_nats.url, "g.p") as peer:
        waiting = [asyncio.create_task(gather(link, "g.p", within=60, stall=60, most=2)) for _ in range(MAX_GATHERINGS)]
        replies = [(await peer.next()).reply for _ in waiting]
        for reply in replies:
            peer.publish(reply, b"NATS/1.0\r\n\r\n", b"x")
        assert isinstance((await gather(link, "g.p")).error, Overloaded)
        asked = [InFlightFuture() for _ in range(3)]
        for sent in asked:
            link.send(sent, "g.p", b"", b"", time.monotonic() + 30)
        assert [sent.future.done() for sent in asked] == [False, False, True]
        assert isinstance(asked[2].future.result(), Overloaded)
        waiting.pop().cancel()
        await eventually(lambda: link._gatherings.count == MAX_GATHERINGS - 1)
        assert await gather(link, "g.p", within=0.1) == Gathered()
        for task in waiting:
            task.cancel()
        for sent in asked:
            sent.abandon()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_6_on_lame_duck_replies_still_come_over_the_old_connection(shared_nats: NatsServer) -> None:
    async with run_link(shared_nats.url) as link, RawPeer.connect(shared_nats.url, "g.lame") as peer:
        waiting = asyncio.create_task(gather(link, "g.lame", within=60, stall=60, most=2))
        reply = (await peer.next()).reply
        peer.publish(reply, b"NATS/1.0\r\n\r\n", b"1")
        old = link._connection
        assert old is not None
        link._leave(old)  # as on lame duck
        await eventually(lambda: link._connection is not old and link.reason is None)
        peer.publish(reply, b"NATS/1.0\r\n\r\n", b"2")
        assert payloads(await waiting) == [b"1", b"2"]
        await eventually(lambda: old.ended)
