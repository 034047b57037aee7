"""The messages of one caller: those of a flood go out together, and no others wait."""

import asyncio
from collections import Counter

import pytest

from app.exchange.events import EventWriter
from app.nats import feed as feeds
from app.nats.feed import ENOUGH, ENOUGH_BYTES, Feed


async def take(feed: Feed) -> bytes:
    async with asyncio.timeout(5):
        await feed.more()
    return feed.take()


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A feed whose pace is so slow that a test would see it."""
    monkeypatch.setattr(feeds, "PACE", 60.0)
    return Feed(EventWriter("text/event-stream"), Counter())


async def test_the_first_message_does_not_wait(feed: Feed) -> None:
    feed.put(b"1")
    assert await take(feed) == b"1"


async def test_messages_that_follow_at_once_wait_for_more(feed: Feed) -> None:
    feed.put(b"1")
    await take(feed)
    more = feed.more()
    feed.put(b"2")
    feed.put(b"3")
    await asyncio.sleep(0.01)
    assert not more.done()
    for _ in range(ENOUGH - 2):
        feed.put(b"4")
    assert more.done()
    assert feed.take() == b"23" + b"4" * (ENOUGH - 2)


async def test_they_wait_no_longer_than_the_pace(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PACE", 0.002)
    feed.put(b"1")
    await take(feed)
    feed.put(b"2")
    feed.put(b"3")
    assert await take(feed) == b"23"


async def test_many_bytes_do_not_wait(feed: Feed) -> None:
    feed.put(b"1")
    await take(feed)
    more = feed.more()
    feed.put(b"2" * ENOUGH_BYTES)
    assert more.done()


async def test_the_end_does_not_wait(feed: Feed) -> None:
    feed.put(b"1")
    await take(feed)
    more = feed.more()
    feed.put(b"2")
    feed.end("drain")
    assert more.done()
    assert feed.take() == b"2"


async def test_a_sign_of_life_does_not_wait(feed: Feed) -> None:
    feed.put(b"1")
    await take(feed)
    more = feed.more()
    feed.nudge()
    assert more.done()
    assert feed.take() == b""
