"""What comes from the server, in whatever pieces: a connection hands over the same."""

import asyncio
import random
import time
from functools import partial
from typing import Any

import pytest

from app.nats.addresses import Address
from app.nats.connection import Connection, Events
from app.nats.inbox import TOKEN_LENGTH
from app.nats.link import Link
from app.nats.parser import Tap, WireParser
from tests.harness import NatsServer, eventually

ONE, TWO = b"0123456789abcdef", b"fedcba9876543210"
BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"
DENIED = b"-ERR 'Permissions Violation for Publish to \"greet.Sue\"'\r\n"


class Recorded:
    """A connection that is not connected, and what it tells its link."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.connection = Connection(
            Address.parse("nats://127.0.0.1:1"),
            Events(
                replied=lambda *arguments: self.events.append(arguments),
                refused=lambda token: self.events.append(("refused", token)),
                denied=lambda _, subject: self.events.append(("denied", subject)),
                lame=lambda _: self.events.append(("lame",)),
                lost=lambda _, tokens, reason: self.events.append(("lost", tokens, reason)),
            ),
        )
        assert len(ONE) == len(TWO) == TOKEN_LENGTH

    @property
    def parser(self) -> WireParser:
        parser = self.connection._client._ps
        assert isinstance(parser, WireParser)
        return parser

    def reply(self, token: bytes, payload: bytes, block: bytes = b"", sid: int = 1) -> bytes:
        subject = self.connection.inbox.prefix + token
        if block:
            sizes = len(block), len(block) + len(payload)
            return b"HMSG %b %d %d %d\r\n%b%b\r\n" % (subject, sid, *sizes, block, payload)
        return b"MSG %b %d %d\r\n%b\r\n" % (subject, sid, len(payload), payload)

    def make_stream(self) -> tuple[bytes, list[tuple[object, ...]]]:
        """All that can come, and what it means."""
        tricky = b"\r\nMSG %b%b 1 1\r\nx\r\n" % (self.connection.inbox.prefix, TWO)
        stream = [
            self.reply(ONE, b"hi"),
            self.reply(TWO, b""),
            self.reply(ONE, b"hi", BLOCK),
            b"+OK\r\n",
            self.reply(TWO, b"", b"NATS/1.0 503\r\n\r\n"),
            self.reply(b"heartbeat", b""),
            DENIED,
            self.reply(ONE, tricky),
            self.reply(ONE, tricky, BLOCK),
            self.reply(TWO, b"x" * 300),
        ]
        events: list[tuple[object, ...]] = [
            (ONE, b"", b"hi"),
            (TWO, b"", b""),
            (ONE, BLOCK, b"hi"),
            (TWO, b"NATS/1.0 503\r\n\r\n", b""),
            (b"heartbeat", b"", b""),
            ("denied", "greet.Sue"),
            (ONE, b"", tricky),
            (ONE, BLOCK, tricky),
            (TWO, b"", b"x" * 300),
        ]
        return b"".join(stream), events


async def test_a_whole_stream_is_handed_over() -> None:
    recorded = Recorded()
    stream, events = recorded.make_stream()
    await recorded.parser.parse(stream)
    assert recorded.events == events


async def test_a_stream_that_is_cut_anywhere_means_the_same() -> None:
    recorded = Recorded()
    stream, events = recorded.make_stream()
    for cut in range(len(stream) + 1):
        recorded.events.clear()
        await recorded.parser.parse(stream[:cut])
        await recorded.parser.parse(stream[cut:])
        assert recorded.events == events, cut


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_a_stream_in_pieces_means_the_same(size: int) -> None:
    recorded = Recorded()
    stream, events = recorded.make_stream()
    for start in range(0, len(stream), size):
        await recorded.parser.parse(stream[start : start + size])
    assert recorded.events == events


async def test_a_stream_in_pieces_of_all_sizes_means_the_same() -> None:
    recorded = Recorded()
    stream, events = recorded.make_stream()
    choose = random.Random(7)  # noqa: S311 - the same each time
    for _ in range(300):
        recorded.events.clear()
        rest = stream
        while rest:
            size = choose.choice((1, 5, 40, 200, 500))
            await recorded.parser.parse(rest[:size])
            rest = rest[size:]
        assert recorded.events == events


@pytest.mark.parametrize(
    "change",
    [
        {"token": ONE[:-1]},
        {"token": ONE + b"x"},
        {"sid": 2},
        {"sid": 11},
    ],
)
async def test_what_is_no_reply_to_the_inbox_goes_the_long_way_and_disturbs_nothing(change: dict[str, Any]) -> None:
    recorded = Recorded()
    odd = recorded.reply(**{"token": ONE, "payload": b"odd", **change})
    await recorded.parser.parse(recorded.reply(ONE, b"1") + odd + recorded.reply(TWO, b"2"))
    assert recorded.events[0] == (ONE, b"", b"1")
    assert recorded.events[-1] == (TWO, b"", b"2")


async def test_a_reply_in_pieces_whose_end_is_not_where_it_says_is_never_handed_over() -> None:
    recorded = Recorded()
    line = b"MSG %b%b 1 2\r\nhi--" % (recorded.connection.inbox.prefix, ONE)
    for cut in range(len(line) - 3, len(line)):
        assert recorded.connection.inbox.take(line[:cut]) == cut
        assert recorded.connection.inbox.take(line[cut:]) == len(line) - cut
    assert recorded.events == []


class Stream(asyncio.Protocol):
    """What nats-py reads from, and reads when the test says so."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    async def read(self, parser: WireParser) -> None:
        data, self.data = self.data, b""
        await parser.parse(data)


async def test_what_is_not_taken_off_the_wire_stays_in_order_with_what_comes_behind() -> None:
    recorded = Recorded()
    stream = Stream()
    tap = Tap(stream, recorded.parser, recorded.connection.inbox, unread=0)
    data, events = recorded.make_stream()
    choose = random.Random(7)  # noqa: S311 - the same each time
    for _ in range(500):
        recorded.events.clear()
        rest = data
        while rest:
            size = choose.choice((1, 5, 40, 200, 500))
            tap.data_received(rest[:size])
            rest = rest[size:]
            if choose.random() < 0.3:
                await stream.read(recorded.parser)
        await stream.read(recorded.parser)
        assert recorded.events == events


async def test_replies_need_no_reader() -> None:
    recorded = Recorded()
    stream = Stream()
    tap = Tap(stream, recorded.parser, recorded.connection.inbox, unread=0)
    reply = recorded.reply(TWO, b"2" * 100)
    for piece in (recorded.reply(ONE, b"1"), reply[:90], reply[90:]):
        tap.data_received(piece)
    assert stream.data == b""
    assert recorded.events == [(ONE, b"", b"1"), (TWO, b"", b"2" * 100)]


async def test_what_the_stream_had_before_is_waited_for_and_then_replies_are_taken_off_the_wire() -> None:
    recorded = Recorded()
    stream = Stream()
    stream.data = b"+OK\r\n"
    tap = Tap(stream, recorded.parser, recorded.connection.inbox, unread=len(stream.data))
    tap.data_received(recorded.reply(ONE, b"1"))
    assert recorded.events == []
    await stream.read(recorded.parser)
    tap.data_received(recorded.reply(TWO, b"2"))
    assert stream.data == b""
    assert recorded.events == [(ONE, b"", b"1"), (TWO, b"", b"2")]


async def test_replies_of_a_real_server_are_taken_off_the_wire_and_heartbeats_too(shared_nats: NatsServer) -> None:
    """Right after PONG it sends another INFO, which must not keep the tap shut."""
    async with Link([shared_nats.url], max_in_flight=1) as link:
        await eventually(lambda: link.reason is None)
        connection = link._connection
        assert connection is not None
        parsed = connection._parser.parsed
        for _ in range(100):
            await link.request("nobody", b"", b"", time.monotonic() + 5)
        assert connection.inbox.received > 5000
        assert connection._parser.parsed - parsed < 2000
        parsed, received = connection._parser.parsed, connection.inbox.received
        for _ in range(50):
            before = connection.inbox.received
            connection.publish_heartbeat()
            await eventually(partial(lambda before: connection.inbox.received > before, before))
        assert connection.inbox.received > received + 1000
        assert connection._parser.parsed - parsed < 200  # a PING of the server may be among them
