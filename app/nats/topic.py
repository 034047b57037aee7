"""One subject that callers have subscribed to. No I/O."""

import asyncio
from typing import TYPE_CHECKING

from ..errors import GatewayError, NotConnected
from ..formats.messages import Reply, name_subject
from .feed import Feed, Writer

if TYPE_CHECKING:
    from .in_flight import Outcome


class Topic:
    """One subject, its subscription, and the callers who get its messages."""

    def __init__(self, subject: str, sid: int) -> None:
        self.subject = subject
        self.sid = sid
        self.feeds: dict[Writer, dict[Feed, None]] = {}
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the server has taken the subscription, or with the error."""

    def take_outcome(self, outcome: "asyncio.Future[Outcome]") -> None:
        """Take what became of the subscription."""
        if self.ready.done() or outcome.cancelled():
            return
        result = outcome.result()
        if isinstance(result, GatewayError):  # nothing was sent to a service, whatever became of the connection
            self.fail(result if result.delivered == "no" else NotConnected())
        else:
            self.ready.set_result(None)

    def fail(self, error: GatewayError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # perhaps nobody waits for it any more

    def add(self, feed: Feed) -> None:
        self.feeds.setdefault(feed.writer, {})[feed] = None

    def remove(self, feed: Feed) -> None:
        group = self.feeds.get(feed.writer, {})
        group.pop(feed, None)
        if not group:
            self.feeds.pop(feed.writer, None)

    def list_feeds(self) -> list[Feed]:
        return [feed for group in self.feeds.values() for feed in group]

    def take(self, subject: bytes, _reply: bytes, message: Reply) -> None:
        """Give a message to all callers (law 4)."""
        message = name_subject(message, subject, self.subject)
        slow: list[Feed] = []
        for writer, group in self.feeds.items():
            counted_as = "events"
            try:
                event = writer.write(message)
            except UnicodeDecodeError:
                counted_as = "encoding"
                event = writer.write_gap({"cause": counted_as})
            slow += [feed for feed in group if not feed.put(event, counted_as)]
        for feed in slow:
            self.remove(feed)
